"""The portable model: a folder that samples. Safetensors and text only, each file with its hash in a manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from latentry import config, text
from latentry.checkpoints import durable
from latentry.checkpoints import tensors as files
from latentry.checkpoints.manifest import NAME as MANIFEST
from latentry.checkpoints.manifest import publishing, read_manifest, verify
from latentry.checkpoints.store import SPARE, SUFFIX
from latentry.errors import LatentryError
from latentry.models.config import ModelConfig

CONFIG = "model.yaml"
CARD = "README.md"
REMEDY = "The folder is damaged: copy or export the model again, or repeat the `latentry train` that made it."


@dataclass(frozen=True)
class ModelFolder:
    """What a model folder holds.

    tensors: `autoencoder`, `unet` (averaged weights) and `conditioning`, each name -> tensor; of imported models also
    `unet_raw` (weights as they were trained) and `objective` (discriminator and the like), to train on from.
    texts: further files by name, e.g. `tokenizer.json`. card: the model card, Markdown. hash: of the weights.
    pictures: files that the card shows, by name; not read back. step: of the checkpoint, where it is a run's.
    """

    config: ModelConfig
    tensors: Mapping[str, Mapping[str, Tensor]]
    texts: Mapping[str, str] = field(default_factory=dict)
    card: str = ""
    hash: str = ""
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    step: int | None = None


def write(path: Path, model: ModelFolder) -> None:
    """Write the folder whole, or not at all; an older one at `path` is replaced."""
    need = sum(files.size(group) for group in model.tensors.values()) + SPARE
    with publishing(path, need) as folder:
        for name, group in model.tensors.items():
            if group:
                files.write(folder / (name + SUFFIX), group)
        plain = model.config.model_dump(mode="json", exclude_none=True)
        texts = {CONFIG: config.dump_yaml(plain), **model.texts}
        if model.card:
            texts[CARD] = model.card
        for name, text in texts.items():
            durable.write(folder / name, [text.encode()])
        for name, content in model.pictures.items():
            durable.write(folder / name, [content])


def replace_card(path: Path, card: str) -> None:
    """Give the folder another card, whole or not at all; the weights are not written again."""
    with publishing(path, len(card) + SPARE) as folder:
        for file in path.iterdir():
            if file.is_file() and file.name not in (CARD, MANIFEST):
                os.link(file, folder / file.name)
        durable.write(folder / CARD, [card.encode()])


def is_model(path: Path) -> bool:
    """True if `path` looks like a model folder."""
    return (path / CONFIG).is_file()


def has(path: Path, group: str) -> bool:
    """Whether the folder holds this group of tensors."""
    return (path / (group + SUFFIX)).is_file()


def read(path: Path, *, weights: bool = True, without: Collection[str] = ()) -> ModelFolder:
    """Read and verify a model folder. weights=False: the text alone. without: groups that are left aside.

    Raises LatentryError naming each file that is not as its manifest says, and texts that cannot be read.
    """
    left = {group + SUFFIX for group in without} if weights else {p.name for p in path.glob("*" + SUFFIX)}
    if weights or (path / MANIFEST).exists():
        problems = verify(path, left)
        if problems:
            raise LatentryError(f"{path}: {'; '.join(problems)}. {REMEDY}")
    written = config.parse_yaml(text.read(path / CONFIG), str(path / CONFIG))
    options = config.validate(ModelConfig, written, str(path / CONFIG))
    texts = {
        p.name: text.read(p) for p in sorted(path.iterdir()) if p.suffix in (".json", ".txt") and p.name != MANIFEST
    }
    groups: dict[str, Mapping[str, Tensor]] = {}
    if weights:
        groups = {p.stem: files.read(p) for p in sorted(path.glob("*" + SUFFIX)) if p.stem not in without}
    card = text.read(path / CARD) if (path / CARD).exists() else ""
    return ModelFolder(options, groups, texts, card, weights_hash(path))


def damage(path: Path) -> str:
    """What is wrong with the folder, in words; empty where all of it is as it was written and can be read."""
    if problems := verify(path):
        return "; ".join(problems)
    try:
        read(path, weights=False)
    except LatentryError as error:
        return str(error).removeprefix(f"{path}/").rstrip(".")
    return ""


def kept(path: Path, group: str) -> dict[str, Tensor] | None:
    """One group of tensors of a folder that is damaged elsewhere; None where it is not there or is damaged itself."""
    file = group + SUFFIX
    if not has(path, group) or any(problem.startswith(file) for problem in verify(path)):
        return None
    try:
        return files.read(path / file)
    except LatentryError:
        return None


def weights_hash(path: Path) -> str:
    """Twelve hexadecimal digits that change with any weight: made of the manifest's hashes of the weight files.

    Empty without a manifest. Raises LatentryError for a damaged one.
    """
    try:
        files = read_manifest(path)
        weights = {name: entry["sha256"] for name, entry in files.items() if name.endswith(SUFFIX)}
    except FileNotFoundError:
        return ""
    except (ValueError, TypeError, KeyError) as error:
        raise LatentryError(f"{path}: {MANIFEST} is damaged ({error}). {REMEDY}") from None
    return hashlib.sha256(repr(sorted(weights.items())).encode()).hexdigest()[:12]
