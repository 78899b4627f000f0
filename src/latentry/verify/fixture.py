"""Reference numbers of the published code, and the imported model that is to give the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from latentry import config as tools
from latentry.checkpoints import model_folder
from latentry.checkpoints import tensors as files
from latentry.checkpoints.compvis.locations import Location, Locations, locations
from latentry.conditioning import Cond
from latentry.errors import UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.pipeline import Pipeline, load

PLAIN_INPUTS = {
    "ancestral_noise", "ddim_noise", "eps4", "image", "image_flat", "image_rect", "noise", "p_noise", "t4", "t_mixed",
    "x0", "x_T", "x_small", "x_t", "x_t4", "x_rect", "z", "z_small", "posterior_noise", "moments", "gaussian_sample",
    "inpaint_image",
}  # fmt: skip
"""Inputs that are no condition."""

P = ParamSpec("P")
T = TypeVar("T")
Check = Callable[..., Tensor]
"""Gives a tensor from a `Subject` and what its name's pattern caught."""


class NotThere(Exception):
    """What a check needs is not in this model or fixture; the text says what."""


class Subject:
    """A fixture's folder (config.yaml, expected.safetensors, expected.json) and our model folder.

    device: where the model computes, and where the fixture's tensors are brought.
    Raises UsageError where either is not what it should be.
    """

    def __init__(self, model: Path, fixture: Path, device: torch.device) -> None:
        if not (fixture / "expected.safetensors").is_file():
            raise UsageError(f"{fixture}: no expected.safetensors; give a folder of reference numbers")
        if not model_folder.is_model(model):
            raise UsageError(f"{model}: no model folder; make one with `latentry import`")
        self.model, self.fixture, self.device = model, fixture, device
        stored = files.read(fixture / "expected.safetensors")
        self.tensors: dict[str, Tensor] = {name: tensor.to(device) for name, tensor in stored.items()}
        self.notes: dict[str, Any] = json.loads((fixture / "expected.json").read_text(encoding="utf-8"))["tensors"]
        self.params: dict[str, Any] = tools.load_yaml(fixture / "config.yaml")["model"]["params"]
        self._kept: dict[Hashable, Any] = {}

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise NotThere(f"the fixture has no {name}")
        return self.tensors[name]

    def once(self, compute: Callable[Concatenate[Subject, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """compute(self, ...), computed at the first call and kept: several tensors of a fixture come from one result.

        Arguments have to be hashable. The result is shared, so that nobody may change it.
        """
        key = (compute, args, tuple(sorted(kwargs.items())))
        if key not in self._kept:
            self._kept[key] = compute(self, *args, **kwargs)
        return self._kept[key]

    @cached_property
    def pipes(self) -> dict[str, Pipeline]:
        """The model with averaged and with raw weights, where it has both."""
        pipes = {"ema": load(self.model, device="cpu").to(self.device)}
        if model_folder.has(self.model, "unet_raw"):
            pipes["raw"] = load(self.model, device="cpu", weights="raw").to(self.device)
        elif "ema_updates" not in pipes["ema"].config.trained:
            pipes["raw"] = pipes["ema"]  # the file had no averages
        return pipes

    @cached_property
    def locations(self) -> Locations:
        """Where the published tensors are in our model."""
        folder = model_folder.read(self.model, weights=False)
        return locations(folder.config, folder.texts)

    @property
    def autoencoder(self) -> Autoencoder:
        """The first stage."""
        return self.pipes["ema"].autoencoder

    def denoiser(self, weights: str = "ema") -> LatentDiffusion:
        """The second stage with averaged or raw weights."""
        if weights not in self.pipes:
            raise NotThere(f"the model was imported without {weights} weights")
        denoiser = self.pipes[weights].denoiser
        if denoiser is None:
            raise NotThere("the model has no second stage")
        return denoiser

    def note(self, name: str) -> str:
        """What the fixture says of one of its tensors."""
        return str(self.notes.get(name, {}).get("what", ""))

    def module(self, name: str) -> nn.Module:
        """Our module for the published one that a probe's description names, with raw weights."""
        named = re.search(r"\b(model\.diffusion_model|first_stage_model|cond_stage_model)(\.\w+)+", self.note(name))
        if named is None:
            raise NotThere("its description names no module")
        inside = [p for key, p in self.locations.kept.items() if key.startswith(named.group(0) + ".")]
        columns = zip(*(location.name.split(".") for location in inside), strict=False)
        common = [column[0] for column in columns if len(set(column)) == 1]
        path = ".".join(_leading(common, inside))
        return self.owner(inside[0].group).get_submodule(path)

    def owner(self, group: str) -> nn.Module:
        """The module that a group of tensors belongs to, with raw weights."""
        if group == "autoencoder":
            return self.autoencoder
        denoiser = self.denoiser("raw" if "raw" in self.pipes else "ema")
        return denoiser if group == "conditioning" else denoiser.unet

    def condition(self, weights: str = "raw", *, nothing: bool = False, twice: bool = False) -> Cond:
        """The denoiser's condition from the fixture's inputs; nothing: the unconditional ones; twice: cat[c, c]."""
        denoiser = self.denoiser(weights if weights in self.pipes else "ema")
        values = {name: self._values(str(o.kind), nothing) for name, o in denoiser.options.conditioning.items()}
        count = len(self["in.x_t"])
        cond = denoiser.condition(values, count)
        return cond.map(lambda part: torch.cat([part, part])) if twice else cond

    def _values(self, kind: str, nothing: bool) -> Any:
        names = [n.removeprefix("in.") for n in self.tensors if n.startswith("in.")]
        of_conditions = [n for n in names if n not in PLAIN_INPUTS and not n.startswith("probe.")]
        inputs = [n for n in of_conditions if n.endswith("_uncond") == nothing]
        if kind == "masked" and {"masked_image", "mask"} <= set(inputs):
            return list(zip(self["in.masked_image"], self["in.mask"], strict=True))
        if not inputs:
            raise NotThere(f"the fixture has no input for the {'unconditional ' if nothing else ''}condition")
        key = str(self.params.get("cond_stage_key"))
        value = self["in." + next((n for n in inputs if n.startswith(key)), inputs[0])]
        return list(value) if kind in ("semantic", "image", "embedding") else value


def _leading(common: list[str], inside: list[Location]) -> list[str]:
    """The parts that all names begin with."""
    names = [location.name.split(".") for location in inside]
    length = next((i for i, part in enumerate(common) if any(n[i] != part for n in names)), len(common))
    shortest = min(len(name) for name in names) - 1
    return names[0][: min(length, shortest)]
