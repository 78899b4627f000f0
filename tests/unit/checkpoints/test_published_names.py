"""The name tables are one-to-one and complete, also for networks that nobody published."""

from __future__ import annotations

from typing import Any

import pytest

from latentry.checkpoints.compvis.names import ema_name, text_names, unet_names
from latentry.checkpoints.compvis.unet_config import unet_arguments
from latentry.errors import UsageError
from latentry.nn.text.encoder import TextTransformer
from latentry.nn.unet import UNet

SMALL: dict[str, Any] = {"in_channels": 3, "out_channels": 3, "channels": 8, "multipliers": (1, 2, 2), "norm_groups": 4}
NETWORKS: dict[str, dict[str, Any]] = {
    "plain": {"attention": (2,)},
    "residual resampling": {"attention": (1, 4), "resblock_updown": True, "blocks": 1},
    "depth per level": {"attention": (1, 2, 4), "transformer_depth": (0, 2, 1), "context_channels": 6},
    "no context": {"attention": (4,), "transformer_depth": 1},
    "vector and concat": {"vector_channels": 5, "concat_channels": 2, "blocks": 3},
    "one level": {"multipliers": (2,), "attention": (1,)},
}


@pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS.keys())
def test_every_unet_parameter_has_a_published_name_of_its_own(options: dict[str, Any]) -> None:
    arguments = SMALL | options
    names = unet_names(**arguments)
    assert set(names) == set(UNet(**arguments).state_dict())
    assert len(set(names.values())) == len(names)


def test_every_text_parameter_has_a_published_name_of_its_own() -> None:
    names = text_names(3)
    assert set(names) == set(TextTransformer(vocabulary=9, length=4, width=8, layers=3).state_dict())
    assert len(set(names.values())) == len(names)


def test_moving_averages_lose_their_dots() -> None:
    assert ema_name("time_embed.0.bias") == "model_ema.diffusion_modeltime_embed0bias"


PUBLISHED: dict[str, Any] = {"in_channels": 7, "out_channels": 3, "model_channels": 32, "num_res_blocks": 2}


def test_what_a_published_config_leaves_out() -> None:
    """The published defaults, or a checkpoint with a short config would be built as another network."""
    arguments = unet_arguments(PUBLISHED | {"attention_resolutions": [8, 4]}, concat_channels=4)
    assert arguments["in_channels"] == 3
    assert arguments["concat_channels"] == 4
    assert arguments["multipliers"] == (1, 2, 4, 8)
    assert arguments["attention"] == (8, 4)
    assert arguments["heads"] is None
    assert arguments["split_heads_first"] is True
    assert "context_channels" not in arguments
    assert unet_arguments(PUBLISHED | {"num_heads": -1, "use_new_attention_order": True})["split_heads_first"] is False


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": (PUBLISHED | {"chanel_mult": [1]}, 'unknown key "chanel_mult" .did you mean "channel_mult"'),
    "classes": (PUBLISHED | {"num_classes": 10}, "num_classes: 10; only None"),
    "missing": ({"in_channels": 3}, "out_channels, model_channels, num_res_blocks missing"),
}


@pytest.mark.parametrize(("params", "message"), BAD.values(), ids=BAD.keys())
def test_a_config_that_cannot_be_read(params: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        unet_arguments(params)
