"""A wrong array is the user's mistake, told in one line; a full memory or a fault of the first stage is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentry.conditioning import CONDITIONERS, BuildContext, Conditioner
from latentry.errors import UsageError
from latentry.kinds import build
from tests.tables.conditioner_cases import make

PAIR = (torch.zeros(3, 8, 8), torch.ones(1, 8, 8))
MISTAKES: list[tuple[str, dict[str, Any], list[Any], str]] = [
    ("image", {}, [torch.zeros(3, 8)], "a value has 2 dimensions, not 3"),
    ("image", {}, [torch.zeros(1, 8, 8)], "an image of 1 channels"),
    ("image", {}, [torch.zeros(3, 8, 8), torch.zeros(3, 8, 4)], "values of shapes (3, 8, 8) and (3, 8, 4)"),
    ("image", {}, ["low.png"], "'low.png' is not an array of numbers"),
    ("image", {}, [[[1, 2], [3]]], "inhomogeneous"),
    ("image", {}, [torch.zeros(3, 8, 8, dtype=torch.complex64)], "complex numbers"),
    ("embedding", {"width": 6}, [np.zeros((2, 5))], "vectors of width 5"),
    ("semantic", {"classes": 5}, [np.full((8, 8), 5)], "64 pixels of classes that there are not (5)"),
    ("semantic", {"classes": 5}, [np.full((8, 8), -1)], "64 pixels of classes that there are not (-1)"),
    ("semantic", {"classes": 5}, [np.zeros((3, 8, 8))], "a map of shape (3, 8, 8)"),
    ("semantic", {"classes": 5}, [np.zeros((8, 2), int)], "a map of 8x2, which cannot be halved 2 times"),
    ("masked", {}, [torch.zeros(3, 8, 8)], "a Tensor and no pair"),
    ("masked", {}, [(torch.zeros(4, 8, 8), PAIR[1])], "an image of 4 channels where the model's have 3"),
    ("masked", {}, [(PAIR[0], PAIR[0])], "a mask of 3 channels"),
]
FAULTS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("a fault inside the network"),
]


def conditioner(name: str, options: dict[str, Any], encode: Callable[[Tensor], Tensor] | None = None) -> Conditioner:
    made: Conditioner = build(CONDITIONERS, make(name, options), BuildContext(encode=encode, image_channels=3))
    return made


@pytest.mark.parametrize(("name", "options", "values", "what"), MISTAKES, ids=lambda part: str(part)[:30])
def test_a_wrong_value_is_named_with_what_is_accepted(
    name: str, options: dict[str, Any], values: list[Any], what: str
) -> None:
    with pytest.raises(UsageError) as error:
        conditioner(name, options, lambda images: images).encode(values)
    assert str(error.value).startswith(f"{name}: ")
    assert what in str(error.value)
    assert "accepted is a" in str(error.value)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_goes_wrong_inside_the_first_stage_is_no_wrong_usage(fault: Exception) -> None:
    """Told to mend images that are right, a person would never think of a smaller batch."""

    def encode(_: Tensor) -> Tensor:
        raise fault

    with pytest.raises(type(fault)) as error:
        conditioner("masked", {}, encode).encode([PAIR])
    assert error.value is fault


@pytest.mark.parametrize("fault", FAULTS[:2], ids=str)
@pytest.mark.parametrize("step", ["interpolate", "one_hot"])
def test_a_full_memory_is_no_wrong_usage(step: str, fault: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Tensor:
        raise fault

    monkeypatch.setattr(torch.nn.functional, step, full)
    with pytest.raises(type(fault)) as error:
        conditioner("semantic", {"classes": 5}).encode([np.zeros((8, 8), int)])
    assert error.value is fault


def test_arrays_of_any_number_format_and_layout_are_read() -> None:
    """A flipped numpy image has negative strides, and a 64-bit one does not exist on Apple's GPUs."""
    image = np.arange(3 * 4 * 4, dtype=np.float64).reshape(3, 4, 4)
    reader = conditioner("image", {})
    expected = torch.from_numpy(image[..., ::-1].copy()).float()[None]
    for value in (image[..., ::-1], image[..., ::-1].astype(np.uint8), expected[0].double(), image[..., ::-1].tolist()):
        concat = reader.encode([value]).concat
        assert concat is not None
        assert concat.dtype == torch.float32
        assert torch.equal(concat, expected)


def test_a_first_stage_of_another_latent_is_named() -> None:
    with pytest.raises(UsageError, match=r"latent has 3 channels, latent_channels is 4\. Set it to 3"):
        conditioner("masked", {"latent_channels": 4}, lambda images: images).encode([PAIR])
    with pytest.raises(UsageError, match="there is no first stage"):
        conditioner("masked", {}).encode([PAIR])


def test_what_training_drops_does_not_pass_the_first_stage() -> None:
    """Most of a batch is dropped where a model has many conditions: encoding it would be most of a step."""
    seen: list[int] = []

    def encode(images: Tensor) -> Tensor:
        seen.append(len(images))
        return images

    masked = conditioner("masked", {}, encode)
    concat = masked.dropped([PAIR] * 5, torch.tensor([False, True, False, False, True])).concat
    assert seen == [2]
    assert concat is not None
    assert concat.abs().sum((1, 2, 3)).bool().tolist() == [False, True, False, False, True]


def test_pixels_and_mask_are_channels_of_their_place_of_the_latent() -> None:
    """Channel, then row and column within the square. Of another order no trained weight would fit."""
    image, mask = torch.rand(3, 8, 12) * 2 - 1, torch.rand(1, 8, 12).gt(0.5).float() * 2 - 1
    reader = build(CONDITIONERS, make("masked", {"through": "pixels"}), BuildContext(factor=4, image_channels=3))
    concat = reader.encode([(image, mask)]).concat
    squares = np.concatenate([image.numpy(), mask.numpy()]).reshape(4, 2, 4, 3, 4)  # channel, and each side twice
    assert concat is not None
    assert np.array_equal(concat[0].numpy(), squares.transpose(0, 2, 4, 1, 3).reshape(64, 2, 3))
    assert reader.concat_channels == 4 * 16
    with pytest.raises(UsageError, match="8x10 pixels, no multiple of 4"):
        reader.encode([(image[..., :10], mask[..., :10])])
