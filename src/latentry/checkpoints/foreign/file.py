"""Checkpoint files of other programs, read without running anything in them.

>>> file = read(Path("model.ckpt"))         # tensors are views on the mapped file
>>> file.tensors["first_stage_model.encoder.conv_in.weight"], file.facts["global_step"], file.dropped
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from latentry.checkpoints.foreign.archive import read_zip
from latentry.checkpoints.foreign.legacy import read_legacy
from latentry.checkpoints.foreign.names import ACCEPTED, Unreadable, printable
from latentry.checkpoints.foreign.safe import read_safetensors
from latentry.checkpoints.foreign.unpickle import DAMAGES
from latentry.errors import LatentryError, UsageError

Kind = Literal["zip", "legacy", "safetensors"]
WEIGHTS = ("state_dict", "model_state_dict", "module", "model", "ema", "model_ema", "params_ema", "params", "net")
"""Where programs keep the weights in what they save; the first that holds tensors is taken."""
ONLY = "tensor"
LONGEST_FACT = 200
LONGEST_NAME = 2000
OPENING = 1024
SHOWN = 5


@dataclass(frozen=True)
class ForeignFile:
    """What a foreign checkpoint holds.

    tensors: the weights by name. If the file is a mapping, those below the first of `WEIGHTS` that holds any, looked
    for again inside it; otherwise all. Nested names are joined by dots, rows count from 0, a lone tensor is `tensor`.
    root: the whole content, with `Dropped` in place of objects of other classes. facts: the numbers and short texts
    beside the weights (`epoch`, `global_step`). dropped: dotted names of those classes.
    """

    tensors: dict[str, Tensor]
    root: Any
    facts: dict[str, int | float | str]
    dropped: tuple[str, ...]
    kind: Kind


def read(path: Path, *, weights: bool = True) -> ForeignFile:
    """Open a checkpoint of another program; nothing in it is imported or called.

    weights: False leaves them in the file; the tensors have their names, shapes and dtypes and are on `meta`.
    Tensors are mapped: they cost memory when they are used, and changing them does not change the file.
    Raises `UsageError` where there is no file, `LatentryError` for what is damaged, foreign, absurd or an attack.
    """
    try:
        kind = _kind(path)
        return _opened(path, kind, weights)
    except Unreadable as error:
        raise LatentryError(f"{path}: {error}") from error
    except OSError as error:
        raise LatentryError(f"{path}: cannot be read: {error.strerror or error}. Check its permissions.") from error
    except DAMAGES as error:
        raise LatentryError(f"{path}: is damaged ({printable(str(error))}); {ACCEPTED}. Take another copy.") from error


def headers(path: Path) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """dtype and shape of each weight, by the names `read` gives, without reading the weights. Errors as `read`."""
    return {name: (t.dtype, tuple(t.shape)) for name, t in read(path, weights=False).tensors.items()}


def _opened(path: Path, kind: Kind, weights: bool) -> ForeignFile:
    if kind == "safetensors":
        tensors, texts = read_safetensors(path, weights=weights)
        root: Any = tensors
        facts, dropped = _facts(texts), dict[str, None]()
    else:
        root, dropped = (read_zip if kind == "zip" else read_legacy)(path, weights=weights)
        facts = _facts(root)
        tensors = _named(_weights(root))
    if not tensors:
        names = ", ".join(list(dropped)[:SHOWN]) + (", ..." if len(dropped) > SHOWN else "")
        raise Unreadable(
            f"holds no tensors{f', only objects of {names}' if names else ''}; {ACCEPTED}. If it is a whole model or "
            "pipeline, save its state_dict()."
        )
    return ForeignFile(tensors, root, facts, tuple(dropped), kind)


def _kind(path: Path) -> Kind:
    """What the file's first bytes say it is, whatever its name."""
    if not path.exists():
        raise UsageError(f"{path}: no such file; {ACCEPTED}. Check the path.")
    if not path.is_file():
        raise UsageError(f"{path}: is a folder or device; {ACCEPTED}. Name the file inside it.")
    with path.open("rb") as file:
        opening = file.read(OPENING)
    if not opening:
        raise Unreadable(f"is empty; {ACCEPTED}. Download or copy it again.")
    if opening.startswith(b"version https://git-lfs"):
        raise Unreadable(f"is a git-lfs pointer, not the file it stands for; {ACCEPTED}. Run `git lfs pull` beside it.")
    if opening.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise Unreadable(f"is a web page, so its download failed; {ACCEPTED}. Download it again, logged in if need be.")
    if opening[257:262] == b"ustar":
        raise Unreadable(
            f"is a tar archive; {ACCEPTED}. Unpack it; load one from torch before 2017 and save it again with torch."
        )
    if opening.startswith(b"PK"):
        return "zip"
    if opening[8:9] == b"{" or path.suffix == ".safetensors":
        return "safetensors"
    return "legacy"


def _weights(root: Any) -> Any:
    """The part of what was saved that is the weights."""
    while isinstance(root, dict):
        inside = next((root[key] for key in WEIGHTS if isinstance(root.get(key), dict) and _named(root[key])), None)
        if inside is None:
            break
        root = inside
    return root


def _named(root: Any) -> dict[str, Tensor]:
    """All tensors in nested containers, under dotted names. A container met twice counts once."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", root)]
    while waiting:
        name, value = waiting.pop()
        if len(name) > LONGEST_NAME:
            raise Unreadable(f"has a name of {len(name)} characters; at most {LONGEST_NAME}. Save the weights alone.")
        if isinstance(value, Tensor):
            if tensors.setdefault(name or ONLY, value) is not value:
                raise Unreadable(f"holds two tensors under the name {printable(name)}. Save the weights alone.")
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            items = value.items() if isinstance(value, dict) else enumerate(value)
            inside = [
                (f"{name}.{key}" if name else str(key), part) for key, part in items if isinstance(key, str | int)
            ]
            waiting.extend(reversed(inside))
    return tensors


def _facts(root: Any) -> dict[str, int | float | str]:
    if not isinstance(root, dict):
        return {}
    return {
        name: value
        for name, value in root.items()
        if isinstance(name, str)
        and (isinstance(value, int | float) or (isinstance(value, str) and len(value) <= LONGEST_FACT))
    }
