"""The way down of the classifier of noisy latents is that of diffusers' UNet, at every time.

If it fails, a network that is called the half of a UNet is another one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from latentry.nn.classifier import NoisyClassifier
from tests.reference.close import assert_close
from tests.reference.test_diffusers_unet import LATENT, network, options, theirs_of
from tests.unit.nn.networks import filled, normal


@pytest.mark.parametrize("scale_shift", [True, False])
def test_its_map_is_that_of_the_middle_of_a_unet_with_its_weights(scale_shift: bool, tmp_path: Path) -> None:
    """Then a group norm, SiLU, the mean over the map and a linear layer, by torch."""
    chosen = options({"scale_shift": scale_shift, "attention": (1, 2), "blocks": 2})
    ours = filled(
        NoisyClassifier(
            in_channels=LATENT,
            classes=7,
            channels=chosen.channels,
            multipliers=chosen.multipliers,
            blocks=chosen.blocks,
            attention=chosen.attention,
            head_channels=chosen.head_channels,
            scale_shift=scale_shift,
            norm_groups=chosen.norm_groups,
            pool="mean",
        )
    )
    unet = network(chosen)
    ends = ("out.", "norm_out.")
    way_down = {name: value for name, value in ours.state_dict().items() if not name.startswith(ends)}
    assert not unet.load_state_dict(way_down, strict=False).unexpected_keys
    theirs, maps = theirs_of(chosen, unet, tmp_path), list[Tensor]()
    theirs.mid_block.register_forward_hook(lambda _, __, found: maps.append(found))
    x, t = normal(2, LATENT, 8, 8), torch.tensor([1.0, 500.0])
    with torch.no_grad():
        theirs(x, t)
        normed = F.group_norm(maps[0], chosen.norm_groups, ours.norm_out.weight, ours.norm_out.bias, 1e-5)
        assert_close(ours(x, t), F.linear(F.silu(normed).mean((2, 3)), ours.out.weight, ours.out.bias), "logits")
