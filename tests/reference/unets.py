"""Published denoisers and their conditioning stages put together from our networks, for the reference tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from latentry.checkpoints.compvis_config import unet_arguments
from latentry.checkpoints.compvis_names import CLASS_NAMES, TEXT_UNUSED, ema_name, text_names, unet_names
from latentry.nn.text_encoder import TextTransformer
from latentry.nn.unet import UNet
from tests.reference.first_stages import state

UNET = "model.diffusion_model."
CONDITION = "cond_stage_model."


class ClassEmbedding(nn.Module):
    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, width)

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedding(ids)[:, None]


def condition_stage(config: object) -> tuple[nn.Module, dict[str, str]] | None:
    """The class or text network of a published `cond_stage_config` with its name table; None for any other kind."""
    kind = config["target"].rsplit(".", 1)[-1] if isinstance(config, Mapping) else None
    params = config.get("params", {}) if isinstance(config, Mapping) else {}
    if kind == "ClassEmbedder":
        return ClassEmbedding(params.get("n_classes", 1000), params["embed_dim"]), CLASS_NAMES
    if kind == "BERTEmbedder":
        vocabulary, length = params.get("vocab_size", 30522), params.get("max_seq_len", 77)
        layers, width = params["n_layer"], params["n_embed"]
        return TextTransformer(vocabulary=vocabulary, length=length, width=width, layers=layers), text_names(layers)
    return None


def conditioned_by(params: Mapping[str, Any]) -> str | None:
    """`concat`, `crossattn` or None, as the published code decides it."""
    if params["cond_stage_config"] == "__is_unconditional__":
        return None
    return params.get("conditioning_key") or ("concat" if params.get("concat_mode", True) else "crossattn")


@dataclass(frozen=True)
class Fixture:
    """One folder: its config, weights and expected numbers, and our networks with those weights."""

    folder: Path

    @cached_property
    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = yaml.safe_load((self.folder / "config.yaml").read_text())["model"]["params"]
        return params

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        return load_file(self.folder / "expected.safetensors")

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        return state(self.folder)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        described = self.params["unet_config"]["params"]
        concat = described["in_channels"] - self.params["channels"] if conditioned_by(self.params) == "concat" else 0
        return unet_arguments(described, concat_channels=concat)

    @cached_property
    def names(self) -> dict[str, str]:
        return unet_names(**self.arguments)

    def unet(self, weights: str = "raw") -> UNet:
        """Our UNet with the raw or the EMA weights."""
        unet = UNet(**self.arguments)
        key = {"raw": lambda name: UNET + name, "ema": ema_name}[weights]
        unet.load_state_dict({ours: self.weights[key(theirs)] for ours, theirs in self.names.items()})
        return unet.eval()

    def place(self, published: str) -> str:
        """The name of our module that the published one is, for example `input_blocks.1.0`."""
        inside = [ours for ours, theirs in self.names.items() if theirs.startswith(published + ".")]
        columns = zip(*(name.split(".") for name in inside))
        return ".".join(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))

    def condition_stage(self) -> nn.Module | None:
        """Our class or text network with the published weights; None for any other kind."""
        if (built := condition_stage(self.params["cond_stage_config"])) is None:
            return None
        stage, names = built
        stage.load_state_dict({ours: self.weights[CONDITION + theirs] for ours, theirs in names.items()})
        return stage.eval()

    def condition(self, value: Tensor | None) -> dict[str, Tensor]:
        """The keyword arguments by which the UNet takes a conditioning."""
        if value is None:
            return {}
        return {"concat" if conditioned_by(self.params) == "concat" else "context": value}


def shapes(module: nn.Module, names: Mapping[str, str]) -> dict[str, list[int]]:
    """Published names and shapes of a module's parameters and buffers."""
    return {names[ours]: list(value.shape) for ours, value in module.state_dict().items()}


def unused_shapes(stage: nn.Module) -> dict[str, list[int]]:
    """Published names and shapes of what only the published checkpoint carries."""
    if not isinstance(stage, TextTransformer):
        return {}
    weight, bias = TEXT_UNUSED
    return {weight: list(stage.token.weight.shape), bias: [stage.token.num_embeddings]}


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(config: Mapping[str, Any]) -> tuple[UNet, dict[str, str]]:
    """A full-size published UNet without memory, and its name table."""
    arguments = unet_arguments(config["params"])
    with torch.device("meta"):
        return UNet(**arguments), unet_names(**arguments)
