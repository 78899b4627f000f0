"""Published first stages put together from our networks, for the reference tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from latentry.checkpoints.compvis_first_stage import first_stage_arguments
from latentry.checkpoints.first_stage_names import to_ours
from latentry.nn.coder import Decoder, Encoder
from latentry.nn.quantise import VectorQuantiser


class FirstStage(nn.Module):
    """Encoder, decoder, the 1x1 convolutions around the latent, and the codebook if there is one."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        arguments = first_stage_arguments(params)
        self.kind: Literal["kl", "vq"] = arguments.kind
        wide = 2 if self.kind == "kl" else 1
        self.encoder = Encoder(**arguments.encoder)
        self.decoder = Decoder(**arguments.decoder)
        self.quant_conv = nn.Conv2d(wide * arguments.z_channels, wide * arguments.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(arguments.latent_channels, arguments.z_channels, 1)
        if arguments.codes is not None:
            self.quantiser = VectorQuantiser(arguments.codes, arguments.latent_channels)

    def encode(self, x: Tensor) -> Tensor:
        """Moments of the posterior (KL) or the pre-quantised latent (VQ)."""
        return self.quant_conv(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """The image of an unscaled latent, not quantised here."""
        return self.decoder(self.post_quant_conv(z))


def state(folder: Path) -> dict[str, Tensor]:
    """The state dict of a fixture's checkpoint."""
    loaded: dict[str, Tensor] = torch.load(folder / "model.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    return loaded


def ours(weights: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The first stage's weights under `prefix`, by our names."""
    parts = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "quantize.", "loss.")
    names = [k for k in weights if k.startswith(tuple(prefix + p for p in parts))]
    return {to_ours(k.removeprefix(prefix)): weights[k] for k in names}


def assert_close(actual: Tensor, expected: Tensor, what: str, tolerance: float = 3e-5) -> None:
    """The largest difference is at most `tolerance` of the largest expected magnitude."""
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, published {tuple(expected.shape)}"
    error = (actual.double() - expected.double()).abs().max().item()
    bound = tolerance * expected.double().abs().max().item()
    assert error <= bound, f"{what}: off by {error:.2e}, more than {bound:.2e}"
