"""Models that no pipeline of diffusers draws: its networks, and a pipeline whose code lies in the folder.

Text and classes together, classes alone, pooled prompts, and transformers without a condition are held this way.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry import config as plain
from latentry.checkpoints.diffusers import autoencoder, scheduler, unet, unet_names
from latentry.checkpoints.diffusers.files import (
    CONFIG,
    NETWORK,
    SCHEDULER,
    SIDE,
    Parts,
    check,
    read_json,
    read_weights,
)
from latentry.checkpoints.diffusers.pipelines import SCHEDULER_FOLDER
from latentry.checkpoints.diffusers.settings import VERSION, unheld
from latentry.checkpoints.model_folder import CARD, ModelFolder
from latentry.conditioning.text import FILE
from latentry.conditioning.words import tokenizer as tokens
from latentry.errors import LatentryError, UsageError
from latentry.kinds import KindOptions
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.config import DiffusionOptions, ModelConfig

CLASS = ["pipeline", "LatentryPipeline"]
"""As the index names it: the file in the folder, and the class in the file."""
FIRST, UNET, CONDITIONING, TOKENIZER = "vqvae", "unet", "conditioning", "tokenizer"
KINDS = ("text", "class_label")
"""Of the conditions that its code computes."""


def may_hold(config: ModelConfig) -> bool:
    """Whether there is a denoiser, and its conditions are of kinds that the folder's code computes."""
    if config.diffusion is None:
        return False
    kinds = [str(options.kind) for options in config.diffusion.conditioning.values()]
    return set(kinds) <= set(KINDS) and kinds.count("text") <= 1


def parts(model: ModelFolder, scale: float) -> Parts:
    """What is to be written. Raises UsageError for what diffusers' networks or schedulers cannot be."""
    config, tensors = model.config, model.tensors
    assert config.diffusion is not None
    made = configs(config, scale, _rows(tensors))
    options = config.diffusion.unet
    network = unet_names.to_theirs(tensors["unet"], options)
    groups: dict[str, Mapping[str, Tensor]] = {UNET: network}
    if _is_silent(config.diffusion):
        groups[UNET] = unet_names.silenced(network, unet.SILENT)
    if FIRST in made:
        groups[FIRST] = autoencoder.to_theirs(tensors["autoencoder"], len(config.autoencoder.multipliers))
    files: dict[str, Any] = {"pipeline.py": _code("pipeline")}
    index: dict[str, Any] = {"_class_name": CLASS, "_diffusers_version": VERSION}
    index |= {name: ["diffusers", made[name]["_class_name"]] for name in made if name != CONDITIONING}
    if CONDITIONING in made:
        groups[CONDITIONING] = tensors["conditioning"]
        index[CONDITIONING] = [CONDITIONING, "Conditioning"]
        files[f"{CONDITIONING}/{CONDITIONING}.py"] = _code(CONDITIONING)
        files |= {f"{CONDITIONING}/{name}": text for name, text in model.texts.items()}
    words = _tokenizer_files(model)
    index[TOKENIZER] = ["transformers", "PreTrainedTokenizerFast"] if words else [None, None]
    files |= {f"{TOKENIZER}/{name}": content for name, content in words.items()}
    index["patch"] = config.autoencoder.patch
    absent = {name: [None, None] for name in (FIRST, CONDITIONING) if name not in made}
    return Parts(made, groups, index | absent, files)


def configs(config: ModelConfig, scale: float, rows: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """The config of every component by its folder. rows: of the tables of words and classes, by condition."""
    d, a = config.diffusion, config.autoencoder
    assert d is not None
    height, width = (side // a.factor for side in config.data.size)
    latent = a.latent_channels or a.z_channels
    made: dict[str, dict[str, Any]] = {}
    if a.kind != "identity":
        made[FIRST] = autoencoder.to_config(a, config.data.channels, config.data.size, scale, folded=True)
    elif scale != 1:
        raise unheld(f"autoencoder.kind identity with latent_scale {scale:g}", "it is not a component", unet.ALONE)
    context, vector = _widths(d)
    made[UNET] = unet.to_config(
        d.unet,
        latent=latent,
        concat=0,
        context=context,
        size=height if height == width else (height, width),
        vector=vector,
        silent=True,
    )
    made[SCHEDULER_FOLDER] = scheduler.to_config(d, config.sample)
    if d.conditioning:
        conditions = [_condition(name, options, rows[name], config) for name, options in d.conditioning.items()]
        whole = config.model_dump(mode="json", exclude_none=True)
        made[CONDITIONING] = {"_class_name": "Conditioning", "_diffusers_version": VERSION, "conditions": conditions,
                              "context": context, "model": whole}  # fmt: skip
    return made


def read(path: Path) -> ModelFolder:
    """The model of a folder that `parts` described. Raises UsageError, LatentryError for one that was changed."""
    config = _config(path)
    d, a = config.diffusion, config.autoencoder
    assert d is not None
    first = read_json(path / FIRST / CONFIG) if a.kind != "identity" else {"scaling_factor": 1.0}
    scale = float(first["scaling_factor"])
    own = autoencoder.buffers(scale, a.latent_channels or a.z_channels)
    if a.kind != "identity":
        own |= autoencoder.to_ours(read_weights(path / FIRST, NETWORK), len(a.multipliers))
    network = read_weights(path / UNET, NETWORK)
    network = unet_names.unsilenced(network) if _is_silent(d) else network
    groups: dict[str, Mapping[str, Tensor]] = {"autoencoder": own, "unet": unet_names.to_ours(network, d.unet)}
    if d.conditioning:
        groups["conditioning"] = read_weights(path / CONDITIONING, NETWORK)
    differ = _other(path, configs(config, scale, _rows(groups)))
    if differ:
        raise UsageError(
            f"{path}: {', '.join(differ)} say another model than {SIDE}. Take the folder as it was written."
        )
    texts = {
        file.name: file.read_text(encoding="utf-8")
        for file in sorted((path / CONDITIONING).glob("*"))
        if file.suffix in (".json", ".txt") and file.name != CONFIG
    }
    with torch.device("meta"):
        check(Autoencoder(a, config.data.channels), groups["autoencoder"], str(path / FIRST))
        denoiser = build_denoiser(config, texts)
        check(denoiser.unet, groups["unet"], str(path / UNET))
    rest = {name: tensor for name, tensor in denoiser.state_dict().items() if not name.startswith("unet.")}
    found = groups.get("conditioning", {})
    for name in sorted({*rest, *found}):
        if name not in rest or name not in found or rest[name].shape != found[name].shape:
            raise LatentryError(f"{path / CONDITIONING}: {name} is not as its config says. Take another copy.")
    card = (path / CARD).read_text(encoding="utf-8") if (path / CARD).is_file() else ""
    return ModelFolder(config, groups, texts, card)


def _other(path: Path, made: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The components whose configs are not these."""
    differ = []
    for name, config in made.items():
        file = path / name / (SCHEDULER if name == SCHEDULER_FOLDER else CONFIG)
        found = read_json(file)
        if any(_listed(found.get(key)) != _listed(value) for key, value in config.items() if not key.startswith("_")):
            differ.append(f"{name}/{file.name}")
    return differ


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, list | tuple) else value


def _config(path: Path) -> ModelConfig:
    """Our own options: beside, or, in a folder that diffusers saved again, within the conditioning's."""
    if (path / SIDE).is_file():
        return plain.validate(ModelConfig, plain.load_yaml(path / SIDE), str(path / SIDE))
    inside = path / CONDITIONING / CONFIG
    if inside.is_file():
        return plain.validate(ModelConfig, _in_order(read_json(inside)), str(inside))
    raise UsageError(f"{path}: has no {SIDE}, which says the model. Take the folder that `latentry export` wrote.")


def _in_order(content: Mapping[str, Any]) -> Any:
    """The options within, their conditions in their order, which diffusers sorts away."""
    tree, order = content.get("model"), [o["name"] for o in content["conditions"]]
    if isinstance(tree, dict):
        tree["diffusion"]["conditioning"] = {name: tree["diffusion"]["conditioning"][name] for name in order}
    return tree


def _rows(tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, int]:
    """Rows of each condition's table."""
    ends = (".transformer.token.weight", ".embedding.weight")
    found = tensors.get("conditioning", {})
    return {name.split(".")[1]: len(tensor) for name, tensor in found.items() if name.endswith(ends)}


def _is_silent(d: DiffusionOptions) -> bool:
    """Whether there are transformers, and nothing for them to attend to."""
    return bool(unet_names.deepest(d.unet)) and _widths(d)[0] is None


def _widths(d: DiffusionOptions) -> tuple[int | None, int | None]:
    """Of the context that the UNet attends to, and of the vector."""
    dumped = [options.model_dump() for options in d.conditioning.values()]
    contexts = [o["width"] for o in dumped if o["kind"] == "text" or o.get("via") == "context"]
    vectors = [o["width"] for o in dumped if o.get("pooled") or o.get("via") == "vector"]
    context = (d.unet.context_channels or contexts[0]) if contexts else None
    return context, vectors[0] if vectors else None


def _condition(name: str, options: KindOptions, rows: int, config: ModelConfig) -> dict[str, Any]:
    """One condition in the words of the folder's code."""
    o = options.model_dump()
    shared = {"name": name, "kind": o["kind"], "width": o["width"], "rows": rows}
    if o["kind"] == "text":
        if o["pooled"] == "each":
            why = "its networks embed one vector an image"
            raise unheld(f"conditioning {name} with pooled each", why, "")
        kept = ("length", "layers", "heads", "head_channels", "pooled")
        return {**shared, "attended": True, **{key: o[key] for key in kept}}
    null = rows - 1 if o["null"] is None else None if o["null"] == "none" else o["null"]
    names = o["names"] or (list(config.data.labels) if len(config.data.labels) == o["classes"] else None)
    return {**shared, "attended": o["via"] == "context", "via": o["via"], "null": null, "names": names}


def _tokenizer_files(model: ModelFolder) -> dict[str, Any]:
    """The files of the `tokenizer` folder; none where no condition reads words."""
    assert model.config.diffusion is not None
    for name, options in model.config.diffusion.conditioning.items():
        if options.kind != "text":
            continue
        text = model.texts.get(f"{name}.{FILE}", model.texts.get(FILE))
        if text is None:
            raise UsageError(f"export to diffusers: the model has no {FILE}. Take a whole copy of the model.")
        made = tokens.parse(text, FILE)
        pad = next(token for token in tokens.PADS if made.token_to_id(token) is not None)
        length = options.model_dump()["length"]
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length, "pad_token": pad}
        return {"tokenizer.json": text, "tokenizer_config.json": settings}
    return {}


def _code(name: str) -> str:
    """The folder's own code; it is written, and never run here."""
    place = resources.files("latentry.checkpoints.diffusers") / "code" / f"{name}.py.txt"
    return place.read_text(encoding="utf-8")
