"""LPIPS with random weights: the formula, the channels it is shown, and that it never trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from latentry.errors import LatentryError, UsageError
from latentry.nn import lpips


def random(net: str) -> lpips.LPIPS:
    torch.manual_seed(0)
    model = lpips.LPIPS(net)  # type: ignore[arg-type]
    for head in model.heads:
        torch.nn.init.uniform_(head)
    return model


def images(size: int = 32) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.rand(2, 3, size, size) * 2 - 1, torch.rand(2, 3, size, size) * 2 - 1


def vgg_features(model: lpips.LPIPS, x: Tensor) -> list[Tensor]:
    """relu1_2, relu2_2, relu3_3, relu4_3, relu5_3 by the paper's table of VGG16's configuration D."""
    weights = model.net.state_dict()
    found, layer = [], 0
    for block, convolutions in enumerate((2, 2, 3, 3, 3)):
        if block:
            x, layer = F.max_pool2d(x, 2), layer + 1
        for _ in range(convolutions):
            weight, bias = weights[f"features.{layer}.weight"], weights[f"features.{layer}.bias"]
            x, layer = F.relu(F.conv2d(x, weight, bias, padding=1)), layer + 2
        found.append(x)
    return found


def test_vgg16_by_the_formula() -> None:
    model, (x, y) = random("vgg16"), images()
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    both = [vgg_features(model, (i - shift.view(3, 1, 1)) / scale.view(3, 1, 1)) for i in (x, y)]
    expected = torch.zeros(2)
    for a, b, head in zip(*both, model.heads, strict=True):
        a, b = (f / (f.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for f in (a, b))
        expected += ((a - b) ** 2 * head).sum(1).mean((1, 2))
    assert torch.allclose(model(x, y), expected, rtol=1e-4)


@pytest.mark.parametrize("net", ["squeezenet", "vgg16"])
def test_never_trains(net: str) -> None:
    """Upstream's LPIPS keeps its dropout on in training, so that its loss is noisy; ours is fixed."""
    model, (x, y) = random(net), images()
    y.requires_grad_()
    model.train()
    assert not model.training
    distance = model(x, y)
    assert torch.equal(distance, model(x, y))
    distance.sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert y.grad is not None
    assert y.grad.any()


@pytest.mark.parametrize("net", ["squeezenet", "vgg16"])
def test_flat_images_have_finite_gradients(net: str) -> None:
    model = random(net)
    x = torch.ones(1, 3, 32, 32)
    y = torch.ones(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x, y).sum(), y)
    assert gradient.isfinite().all()


def test_full_precision_under_autocast() -> None:
    model, (x, y) = random("squeezenet"), images()
    with torch.autocast("cpu", torch.bfloat16):
        distance = model(x, y)
    assert distance.dtype == torch.float32
    assert torch.equal(distance, model(x, y))


@pytest.mark.parametrize("net", ["squeezenet", "vgg16"])
def test_the_smallest_image(net: str) -> None:
    model = random(net)
    size = model.net.smallest
    assert model(*images(size)).isfinite().all()
    with pytest.raises(UsageError, match=f"at least {size}"):
        model(*images(size - 1))


def test_channels_are_shown_as_rgb() -> None:
    grey, colour = torch.rand(2, 1, 4, 4), torch.rand(2, 3, 4, 4)
    assert torch.equal(lpips.to_rgb(grey), grey.repeat(1, 3, 1, 1))
    assert torch.equal(lpips.to_rgb(colour), colour)
    bands = torch.rand(2, 7, 4, 4)
    assert torch.equal(lpips.to_rgb(bands, (5, 2, 0))[:, 0], bands[:, 5])
    with pytest.raises(UsageError, match="5 channels"):
        lpips.to_rgb(torch.zeros(1, 5, 4, 4))


def test_transparent_pixels_look_like_the_background() -> None:
    colours, alpha = torch.rand(1, 3, 4, 4), torch.tensor([-1.0, 1.0, 0.0]).view(3, 1, 1, 1)
    rgba = torch.cat([colours.expand(3, -1, -1, -1), alpha.expand(3, 1, 4, 4)], dim=1)
    clear, opaque, half = lpips.to_rgb(rgba, background=(1.0, 1.0, 1.0))
    assert torch.equal(clear, torch.ones(3, 4, 4))
    assert torch.allclose(opaque, colours[0])
    assert torch.allclose(half, (1.0 + colours[0]) / 2.0)
    assert torch.equal(lpips.to_rgb(rgba), rgba[:, :3])


def test_a_file_of_another_network_is_named(tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    save_file({"features.0.weight": torch.zeros(1)}, path)
    with pytest.raises(LatentryError, match=r"wrong\.safetensors does not hold this network"):
        lpips.load("squeezenet", path, path)
