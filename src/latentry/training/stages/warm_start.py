"""Training that begins with the weights of a model that is there already."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from latentry.checkpoints.model_folder import ModelFolder
from latentry.conditioning import class_label, text
from latentry.conditioning.class_label import ClassLabel
from latentry.conditioning.layout import Layout
from latentry.conditioning.text import Text
from latentry.conditioning.words.prompts import Prompts
from latentry.errors import UsageError
from latentry.kinds import KindOptions
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import named_files
from latentry.models.config import DiffusionOptions
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.training.objectives import AdversarialObjective

SHOWN = 4  # names in a report


def files_to_keep(source: LatentDiffusion, options: DiffusionOptions) -> dict[str, str]:
    """Tokenizers, and classes of layouts, of the conditions that the recipe has too: weights mean little without."""
    prompts = {n for n, c in source.conditioners.items() if isinstance(c, Prompts | Layout)}
    same = [
        n for n, o in options.conditioning.items() if n in prompts and _of_a_kind(source.options.conditioning[n], o)
    ]
    return named_files({name: source.conditioners[name] for name in same})  # type: ignore[misc]


@torch.no_grad()
def begin_with(model: LatentDiffusion, source: LatentDiffusion, name: str) -> str:
    """Put into `model` what fits of `source`, the second stage of `name`, and say in one line what does not.

    What fits: tensors of equal name and shape, and rows of classes and of words of equal name.
    Raises UsageError if nothing does.
    """
    theirs, new_rows = source.state_dict(), ""
    for condition, own in model.conditioners.items():
        if condition not in source.conditioners:
            continue
        other = source.conditioners[condition]
        if isinstance(own, ClassLabel) and isinstance(other, ClassLabel) and own.options.width == other.options.width:
            theirs[f"conditioners.{condition}.embedding.weight"], new = class_label.rows_of(own, other)
            new_rows += f"; {condition}: anew are the classes {_some(new)}" if new else ""
        if isinstance(own, Text) and isinstance(other, Text) and own.options.width == other.options.width:
            theirs[f"conditioners.{condition}.transformer.token.weight"], new = text.rows_of(own, other)
            new_rows += f"; {condition}: anew are the words {_some(new)}" if new else ""
    return _fill("diffusion", model, theirs, name) + new_rows


@torch.no_grad()
def begin_first_stage(model: Autoencoder, objective: AdversarialObjective, source: ModelFolder, name: str) -> str:
    """Put into a first stage and its objective what fits of another, and say in one line what does not."""
    report = _fill("autoencoder", model, source.tensors["autoencoder"], name)
    left = source.tensors.get("objective", {})
    critic = {n: tensor for n, tensor in left.items() if not n.startswith("perceptual.")}  # which comes from its files
    if critic:
        report += "; " + _fill("its discriminator", objective, critic, name)
    return report


def _fill(what: str, module: nn.Module, theirs: Mapping[str, Tensor], source: str) -> str:
    """Tensors of equal name and shape, and a text that names the others."""
    own = module.state_dict()
    fitting = {name: theirs[name] for name in own if name in theirs and theirs[name].shape == own[name].shape}
    if not fitting:
        raise UsageError(f"{what}: no tensor of {source} fits this recipe; name a model of a like one")
    module.load_state_dict(fitting, strict=False)
    new, unused = [n for n in own if n not in fitting], [n for n in theirs if n not in fitting and n not in own]
    report = f"{what}: {len(fitting)} of {len(own)} tensors begin as in {source}"
    report += f"; anew: {_some(new)}" if new else ""
    return report + (f"; not used: {_some(unused)}" if unused else "")


def _of_a_kind(a: KindOptions, b: KindOptions) -> bool:
    return a.kind == b.kind and getattr(a, "tokens", None) == getattr(b, "tokens", None)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
