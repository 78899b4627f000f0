"""Real stages with the inputs, weights and small networks that the frozen oracle of the training equation fixes.

`scripts/freeze_equation.py` made the numbers, in float64 and from the published formulas; it imports nothing of ours.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions
from tests.unit.training.small_stages import first_stage, second_stage

FILE = Path(__file__).parents[2] / "reference" / "frozen" / "equation.json"
ORACLE: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
LABELS = ("a", "b", "c")
NEAR = 2e-5
"""Of the largest magnitude: what float32 loses against float64 in networks this small."""


class SmallUNet(nn.Module):
    """out = O tanh(M x + V vector + s t / 50) + b."""

    def __init__(self, in_channels: int, vector_channels: int, **_: Any) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.ones(5, in_channels))
        self.time = nn.Parameter(torch.ones(5))
        self.vector = nn.Parameter(torch.ones(5, vector_channels or 1))
        self.out = nn.Parameter(torch.ones(in_channels, 5))
        self.bias = nn.Parameter(torch.ones(in_channels))

    def embed_time(self, t: Tensor) -> Tensor:
        return t[:, None]

    def forward(self, x: Tensor, t: Tensor, *, vector: Tensor, **_: Any) -> Tensor:
        inner = vector @ self.vector.T + t[:, None] / 50 * self.time  # (B, 5)
        hidden = torch.tanh(torch.einsum("kc,bchw->bkhw", self.mix, x) + inner[:, :, None, None])
        return torch.einsum("ck,bkhw->bchw", self.out, hidden) + self.bias[:, None, None]


class SmallEncoder(nn.Conv2d):
    """A strided convolution."""

    def __init__(self, in_channels: int, out_channels: int, **_: Any) -> None:
        super().__init__(in_channels, out_channels, 2, stride=2)


class SmallDecoder(nn.Conv2d):
    """tanh of a 1x1 convolution, enlarged twofold, and a last layer."""

    def __init__(self, in_channels: int, out_channels: int, **_: Any) -> None:
        super().__init__(in_channels, 3, 1)
        self.conv_out = nn.Conv2d(3, out_channels, 1)

    def features(self, z: Tensor) -> Tensor:
        return torch.tanh(self(z)).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


class SmallDistance(nn.Module):
    """Mean squared difference of mixtures of the colours."""

    def __init__(self, kernel: list[list[float]]) -> None:
        super().__init__()
        self.register_buffer("kernel", torch.tensor(kernel)[:, :, None, None])

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.conv2d(x - y, self.get_buffer("kernel")).square().mean(dim=(1, 2, 3))


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models built from now on have the networks that the oracle has."""
    monkeypatch.setattr("latentry.models.latent_diffusion.UNet", SmallUNet)
    monkeypatch.setattr("latentry.models.autoencoder.Encoder", SmallEncoder)
    monkeypatch.setattr("latentry.models.autoencoder.Decoder", SmallDecoder)


def write_images(root: Path) -> Path:
    """The data folder of the oracle: four images to train on and two held out."""
    data, lines = ORACLE["data"], []
    for split, names in data["names"].items():
        for name, blocks, label in zip(names, data["pixels"][split], data["labels"][split], strict=True):
            pixels = np.array(blocks, np.uint8).transpose(1, 2, 0).repeat(data["block"], 0).repeat(data["block"], 1)
            Image.fromarray(pixels).save(root / name)
            lines.append(json.dumps({"file_name": name, "label": LABELS[label], "text": ""}))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root


def fill(weights: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Set every named weight to the oracle's number."""
    assert weights.keys() == numbers.keys()
    for name, weight in weights.items():
        weight.data.copy_(torch.tensor(numbers[name]).view_as(weight))


def diffusion(root: Path, name: str) -> tuple[Any, Any, dict[str, Any]]:
    """(stage, the parts of its batch, the case) of the second stage."""
    case = ORACLE["diffusion_cases"][name]
    stage: Any = second_stage(root, **case["options"])
    fill(dict(stage.model.named_parameters()), case["weights"])
    fill(stage.ema.shadow, case["averages"])
    if case["kind"] == "vq":
        stage.autoencoder = Autoencoder(AutoencoderOptions(kind="vq", multipliers=(1, 2), norm_groups=4), 3)
    else:
        fill(dict(stage.autoencoder.named_parameters()), ORACLE["autoencoder"])
        stage.autoencoder.latent_shift.copy_(torch.tensor(case["shift"]))
        stage.autoencoder.latent_scale.fill_(case["scale"])
    parts = []
    for part in next(stage.batches(0)):
        values = {name: [LABELS[labels[place]] for place in part.positions] for name, labels in case["labels"].items()}
        parts.append(changed(part, moments=torch.tensor([case["moments"][p] for p in part.positions]), values=values))
    stage.batches = lambda start: iter([parts] * 10)
    return stage, parts, case


def autoencoder(root: Path, name: str) -> tuple[Any, Any, dict[str, Any]]:
    """(stage, the parts of its batch, the case) of the first stage."""
    case = ORACLE["autoencoder_cases"][name]
    stage: Any = first_stage(root, **case["options"])
    fill(dict(stage.model.named_parameters()), case["weights"])
    fill(stage.ema.shadow, case["averages"])
    fill(dict(stage.objective.discriminator.named_parameters()), case["discriminator"])
    stage.objective.__dict__["perceptual"] = SmallDistance(case["kernel"])
    images = torch.tensor(case["images"])
    parts = [changed(part, image=images[2 * i : 2 * i + 2]) for i, part in enumerate(next(stage.batches(0)))]
    stage.batches = lambda start: iter([parts] * 10)
    return stage, parts, case


def changed(part: Any, **changes: Any) -> Any:
    """A part of a batch with other content."""
    if isinstance(part, tuple):
        return type(part)(**{**part._asdict(), **changes})  # type: ignore[attr-defined]
    return dataclasses.replace(part, **changes)


def assert_near(what: str, number: Any, expected: Any, share: float = NEAR) -> None:
    """All within a share of the largest expected magnitude."""
    number, expected = torch.as_tensor(number).detach().double(), torch.tensor(expected).double()
    assert number.numel() == expected.numel(), what
    error = float((number.reshape(-1) - expected.reshape(-1)).abs().max())
    bound = share * float(expected.abs().max()) + 1e-7
    assert error <= bound, f"{what}: off by {error:.2e}, more than {bound:.2e}"


def assert_all_near(numbers: Mapping[str, Any], expected: Mapping[str, Any], share: float = NEAR) -> None:
    """`assert_near` for every name that is expected."""
    for name, value in expected.items():
        assert_near(name, numbers[name], value, share)


def weights_in_use(module: nn.Module, model: nn.Module, look: Callable[[], Any]) -> list[dict[str, Tensor]]:
    """The weights of `model` at each call of a module of it while `look` runs."""
    seen: list[dict[str, Tensor]] = []

    def note(*_: Any) -> None:
        seen.append({name: weight.detach().clone() for name, weight in model.named_parameters()})

    handle = module.register_forward_pre_hook(note)
    look()
    handle.remove()
    return seen


def assert_averages(seen: list[dict[str, Tensor]], stage: Any, case: Mapping[str, Any]) -> None:
    """The averages, and nothing else, were in use; and the raw weights are back."""
    assert seen
    for weights in seen:
        assert_all_near(weights, case["averages"], 1e-6)
    assert_all_near(dict(stage.model.named_parameters()), case["weights"], 1e-6)
