"""What training feeds the conditions that are made of images, against results written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from latentry.conditioning import BuildContext, Conditioner, values_of
from latentry.conditioning import embedding as embeddings
from latentry.conditioning import image as images
from latentry.conditioning import masked as masks
from latentry.conditioning.class_label import ClassLabelOptions
from latentry.conditioning.class_label import build as build_label
from latentry.data.sample import Sample
from latentry.errors import UsageError

CONTEXT = BuildContext(labels=["animals", "food"])


def image(**options: object) -> Conditioner:
    return images.build(images.ImageOptions.model_validate(options), CONTEXT)


def hole(seed: int, position: int, height: int = 32, width: int = 20, name: str = "m") -> NDArray[np.bool_]:
    """(H, W), where the drawn mask is 1."""
    conditioner = masks.build(masks.MaskedOptions(), CONTEXT)
    sample = Sample(position, 0, pixels=np.full((height, width, 3), 255, np.uint8))
    picture, mask = values_of({name: conditioner}, seed, sample)[name]
    assert picture.dtype == mask.dtype == np.float32
    assert mask.shape == (1, height, width)
    assert set(np.unique(mask)) <= {-1, 1}
    inside = np.asarray(mask[0] == 1)
    assert (picture[:, inside] == -1).all()
    assert (picture[:, ~inside] == 1).all()
    return inside


def test_a_label_is_the_name_of_its_class() -> None:
    """By number, labels that came later would shift the classes of a model that is trained further."""
    label = build_label(ClassLabelOptions(width=2), CONTEXT)
    found = values_of({"label": label}, 0, Sample(0, 0, label="food"))["label"]
    assert found == "food"
    assert label.row(found) == 1
    assert values_of({"label": label}, 0, Sample(0, 0))["label"] is None


def test_the_small_image_is_smoothed_before_it_is_shrunk() -> None:
    """Every fourth pixel of a fine pattern would be a colour that the image does not have."""
    stripes = np.zeros((16, 8, 1), np.uint8)
    stripes[:, ::2] = 255
    small = values_of({"x": image(channels=1, factor=4)}, 0, Sample(0, 0, pixels=stripes))["x"]
    assert small.shape == (1, 4, 2)
    assert small.dtype == np.float32
    assert np.abs(small).max() < 0.2  # neither black nor white


def test_the_small_image_is_the_mean_of_flat_parts_and_stays_in_range() -> None:
    halves = np.zeros((32, 32, 3), np.uint16)
    halves[:, 16:] = 65535
    small = values_of({"x": image(factor=2)}, 0, Sample(0, 0, pixels=halves))["x"]
    assert small.shape == (3, 16, 16)
    assert small.min() == -1
    assert small.max() == 1
    np.testing.assert_allclose(small[:, :, :5], -1, atol=1e-6)
    np.testing.assert_allclose(small[:, :, -5:], 1, atol=1e-6)


def test_a_factor_that_does_not_divide_the_image_is_named() -> None:
    with pytest.raises(UsageError, match="16x10 pixels cannot be shrunk 4 times"):
        image(factor=4).value(Sample(0, 0, pixels=np.zeros((16, 10, 3), np.uint8)), np.random.default_rng)


def test_options_of_training_alone_are_not_written_to_models_that_do_not_set_them() -> None:
    """model.yaml of the published super-resolution and retrieval models stays as it was."""
    assert images.ImageOptions().model_dump(exclude_none=True) == {"kind": "image", "channels": 3}
    assert embeddings.EmbeddingOptions().model_dump(exclude_none=True) == {"kind": "embedding", "width": 768}


def test_a_drawn_hole_is_one_box_of_a_quarter_to_a_half_anywhere() -> None:
    holes = [hole(1, position) for position in range(300)]
    boxes = [(np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))) for found in holes]
    for found, (rows, columns) in zip(holes, boxes, strict=True):
        assert found.sum() == len(rows) * len(columns)
    assert {len(rows) for rows, _ in boxes} == set(range(8, 17))
    assert {len(columns) for _, columns in boxes} == set(range(5, 11))
    for axis in (1, 2):
        assert np.stack(holes).any((0, axis)).all(), "part of the image is never in a hole"


def test_a_hole_depends_on_seed_name_and_place_alone() -> None:
    """A resumed run, or another number of workers, would see other holes."""
    first = hole(1, 5)
    assert (hole(1, 5) == first).all()
    for other in (hole(2, 5), hole(1, 6), hole(1, 5, name="other")):
        assert (other != first).any()


@pytest.mark.parametrize("side", range(1, 9))
def test_the_smallest_images_have_a_hole_too(side: int) -> None:
    assert 1 <= hole(0, 0, side, side).any(1).sum() <= max(1, side // 2)


def test_the_mask_of_a_record_is_the_hole() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2, 3:] = True
    pixels = np.full((8, 8, 3), 128, np.uint8)
    conditioner = masks.build(masks.MaskedOptions(), CONTEXT)
    picture, hole_mask = values_of({"m": conditioner}, 0, Sample(0, 0, pixels=pixels, mask=mask))["m"]
    assert (hole_mask[0] == np.where(mask, 1, -1)).all()
    assert (picture == np.where(mask, -1, np.float32(128 / 127.5) - 1)).all()


def test_which_array_an_embedding_is_must_be_clear() -> None:
    one, two = np.ones((2, 4), np.float32), np.zeros((2, 4), np.float32)

    def value(arrays: dict[str, NDArray[np.float32]], field: str | None = None) -> object:
        conditioner = embeddings.build(embeddings.EmbeddingOptions(width=4, field=field), CONTEXT)
        return values_of({"e": conditioner}, 0, Sample(0, 0, arrays=arrays))["e"]

    assert value({"clip": one}) is one
    assert value({"clip": one, "dino": two}, "dino") is two
    assert value({}) is None
    with pytest.raises(UsageError, match=r"several fields of arrays: clip, dino\. Set field"):
        value({"clip": one, "dino": two})
    with pytest.raises(UsageError, match=r'no array clop; known: clip \(did you mean "clip"\?\)'):
        value({"clip": one}, "clop")
