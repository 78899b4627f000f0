"""The denoiser's network to diffusers and back: the same prediction at every time, for both of its UNet classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel

from latentry.checkpoints.diffusers import unet, unet_names
from latentry.checkpoints.diffusers.files import NETWORK, write_component
from latentry.errors import UsageError
from latentry.models.config import UNetOptions
from latentry.nn.unet import UNet
from tests.reference.close import assert_close
from tests.reference.diffusers_models import UNET, randomised
from tests.unit.nn.networks import filled, normal

LATENT, CONTEXT = 3, 12
PLAIN: dict[str, dict[str, Any]] = {
    "head channels": {"head_channels": 2, "attention": (1, 2)},
    "one head": {"heads": 1, "head_channels": None, "attention": (1, 2)},
    "heads at one width": {"heads": 4, "head_channels": None},
    "the other order of heads": {"split_heads_first": False},
    "scale and shift": {"scale_shift": True, "blocks": 2},
    "residual resampling": {"resblock_updown": True, "multipliers": (1, 2, 3), "attention": (2,), "norm_groups": 2},
    "both": {"scale_shift": True, "resblock_updown": True, "multipliers": (1, 2, 2), "attention": (2, 4)},
    "attention in the middle alone": {"attention": (8, 16)},
    "attention nowhere on the way, resampled": {"attention": (), "resblock_updown": True},
    "dropout": {"dropout": 0.1},
    "as Ho et al. 2020": {
        "norm_epsilon": 1e-6,
        "pad_end": True,
        "sine_first": True,
        "frequency_shift": 1,
        "heads": 1,
        "head_channels": None,
    },
}
CROSS: dict[str, dict[str, Any]] = {
    "heads": {"heads": 2, "head_channels": None, "attention": (1, 2)},
    "head channels": {"head_channels": 4, "attention": (1, 2), "multipliers": (1, 2, 3)},
    "depth": {"transformer_depth": 2},
    "depth a level": {"transformer_depth": (1, 2), "attention": (1, 2), "blocks": 2},
    "scale and shift": {"scale_shift": True},
}
T = torch.tensor([1.0, 500.0])


def options(changes: dict[str, Any], **more: Any) -> UNetOptions:
    return UNetOptions.model_validate({**UNET, **changes, **more})


def network(chosen: UNetOptions, concat: int = 0, context: int | None = None) -> UNet:
    arguments = chosen.model_dump(exclude={"context_channels"})
    made = UNet(in_channels=LATENT, out_channels=LATENT, concat_channels=concat, context_channels=context, **arguments)
    return filled(made, seed=5)


def theirs_of(chosen: UNetOptions, ours: UNet, path: Path) -> Any:
    """Diffusers' network opened from the config and the weights that we write."""
    config = unet.to_config(chosen, latent=LATENT, concat=ours.concat_channels, context=ours.context_channels, size=8)
    write_component(path, config, NETWORK, unet_names.to_theirs(ours.state_dict(), chosen))
    kind = {"UNet2DModel": UNet2DModel, "UNet2DConditionModel": UNet2DConditionModel}[config["_class_name"]]
    loaded, problems = kind.from_pretrained(path, output_loading_info=True)
    assert not any(problems.values()), problems
    return loaded.eval()


def assert_round_trip(chosen: UNetOptions, ours: UNet) -> None:
    back = unet_names.to_ours(unet_names.to_theirs(ours.state_dict(), chosen), chosen)
    own = ours.state_dict()
    assert back.keys() == own.keys()
    assert all(torch.equal(back[name], own[name]) for name in own)


@pytest.mark.parametrize("size", [(8, 8), (8, 16)])
@pytest.mark.parametrize("name", PLAIN)
@torch.no_grad()
def test_unet_without_a_context(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    chosen = options(PLAIN[name])
    ours = network(chosen, concat=2)
    theirs = theirs_of(chosen, ours, tmp_path)
    x, concat = normal(2, LATENT, *size), normal(2, 2, *size, seed=7)
    for t in (T, torch.tensor([999.0, 0.0])):
        assert_close(ours(x, t, concat=concat), theirs(torch.cat([x, concat], 1), t).sample, f"{name} at {t}")
    assert_round_trip(chosen, ours)
    assert theirs.config.dropout == chosen.dropout


@pytest.mark.parametrize("size", [(8, 8), (16, 8)])
@pytest.mark.parametrize("name", CROSS)
@torch.no_grad()
def test_unet_with_a_context(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    chosen = options({"transformer_depth": 1, **CROSS[name]})
    ours = network(chosen, context=CONTEXT)
    theirs = theirs_of(chosen, ours, tmp_path)
    x, context = normal(2, LATENT, *size), normal(2, 7, CONTEXT, seed=7)
    for t in (T, torch.tensor([999.0, 0.0])):
        assert_close(ours(x, t, context=context), theirs(x, t, context).sample, f"{name} at {t}")
    assert_round_trip(chosen, ours)


WHOLE: dict[str, Any] = {
    "sample_size": 8, "in_channels": 3, "out_channels": 3, "block_out_channels": (8, 16), "layers_per_block": 1,
    "norm_num_groups": 4,
}  # fmt: skip
ATTENDING = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
RESAMPLED: dict[str, Any] = {
    "down_block_types": ("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
}
CROSSING: dict[str, Any] = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": CONTEXT,
}


@pytest.mark.parametrize(
    "config",
    [
        {**ATTENDING, "attention_head_dim": None},
        {**ATTENDING, "attention_head_dim": 4},
        {**ATTENDING, "downsample_padding": 0, "flip_sin_to_cos": False, "freq_shift": 1, "norm_eps": 1e-6},
        {**ATTENDING, "flip_sin_to_cos": False, "norm_eps": 1e-4},
        {**CROSSING, "attention_head_dim": 2, "downsample_padding": 0, "freq_shift": 1, "norm_eps": 1e-3},
        {**RESAMPLED, "attention_head_dim": 8, "resnet_time_scale_shift": "scale_shift", "attn_norm_num_groups": 4},
        {**CROSSING, "attention_head_dim": 2},
        {**CROSSING, "attention_head_dim": (2, 4), "transformer_layers_per_block": 2},
        {**CROSSING, "attention_head_dim": (2, 2), "transformer_layers_per_block": (1, 2)},
    ],
)
@torch.no_grad()
def test_we_compute_what_diffusers_made(config: dict[str, Any]) -> None:
    """A network built and randomised by diffusers gives the same numbers here."""
    crosses = "cross_attention_dim" in config
    made: Any = (UNet2DConditionModel if crosses else UNet2DModel)(**WHOLE, **config)
    theirs = randomised(made).eval()
    found = {**theirs.config, "_class_name": type(theirs).__name__}
    chosen, _ = unet.from_config(found, "test")
    ours = network(chosen, context=CONTEXT if crosses else None)
    ours.load_state_dict(unet_names.to_ours(theirs.state_dict(), chosen))
    x, context = normal(2, LATENT, 8, 16), normal(2, 7, CONTEXT, seed=7)
    told: Any = {"context": context} if crosses else {}
    asked = [context] if crosses else []
    assert_close(ours(x, T, **told), theirs(x, T, *asked).sample, "prediction")


def test_heads_are_split_by_the_one_place_where_they_lie() -> None:
    """Three channels, two heads: the projection's rows by hand."""
    rows = torch.arange(12.0)[:, None]
    first = [part.flatten().tolist() for part in unet_names.split_heads(rows, 2, True)]
    assert first == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
    other = [part.flatten().tolist() for part in unet_names.split_heads(rows, 2, False)]
    assert other == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


@pytest.mark.parametrize(
    ("changes", "context", "text"),
    [
        ({"heads": 2, "head_channels": None, "attention": (1, 2)}, None, "unet.heads 2 at 8, 16 channels"),
        ({"transformer_depth": 1}, None, "transformer_depth 1 without a context"),
        ({"transformer_depth": (0, 1), "attention": (1, 2)}, CONTEXT, "plain attention beside transformers"),
        ({"transformer_depth": 1, "resblock_updown": True}, CONTEXT, "resblock_updown"),
        ({"multipliers": (2, 4)}, None, "unet.multipliers"),
    ],
)
def test_what_diffusers_cannot_be_is_refused_by_name(changes: dict[str, Any], context: int | None, text: str) -> None:
    with pytest.raises(UsageError, match=text) as error:
        unet.to_config(options(changes), latent=3, concat=0, context=context, size=8)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({**ATTENDING, "freq_shift": 2}, "freq_shift 2"),
        ({**ATTENDING, "add_attention": False}, "add_attention False"),
        ({**ATTENDING, "num_class_embeds": 10}, "num_class_embeds 10"),
        ({**ATTENDING, "downsample_padding": 2}, "downsample_padding 2"),
        ({**ATTENDING, "downsample_type": "resnet"}, "DownBlock2D"),
        ({**ATTENDING, "resnet_time_scale_shift": "scale_shift"}, "attn_norm_num_groups None"),
        ({**ATTENDING, "up_block_types": ("UpBlock2D", "AttnUpBlock2D")}, "attention at factors"),
        ({**ATTENDING, "mid_block_type": None}, "mid_block_type None"),
        ({**CROSSING, "use_linear_projection": True}, "use_linear_projection True"),
        ({**CROSSING, "attention_head_dim": (2, 3)}, r"attention_head_dim \[2, 3\]"),
        ({**CROSSING, "addition_embed_type": "text"}, "addition_embed_type 'text'"),
        ({**CROSSING, "only_cross_attention": True}, "only_cross_attention True"),
        ({**CROSSING, "layers_per_block": (1, 2)}, "layers_per_block"),
        ({**CROSSING, "block_out_channels": (8, 12)}, "block_out_channels"),
    ],
)
def test_what_we_cannot_be_is_refused_by_name(config: dict[str, Any], text: str) -> None:
    name = "UNet2DConditionModel" if "cross_attention_dim" in config else "UNet2DModel"
    with pytest.raises(UsageError, match=text) as error:
        unet.from_config({"_class_name": name, **WHOLE, **config}, "unet/config.json")
    assert "\n" not in str(error.value)
