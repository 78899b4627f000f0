"""The files of one component of a diffusers folder: a config and weights."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from latentry import text
from latentry.checkpoints import durable
from latentry.checkpoints import tensors as safetensors
from latentry.checkpoints.foreign import file as foreign_file
from latentry.errors import LatentryError, UsageError

INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
LONGEST_JSON = 1_000_000  # bytes of a config
NETWORK, ENCODER = "diffusion_pytorch_model", "model"
SIDE = "latentry.yaml"
"""Our own options, beside what diffusers reads: names, labels, and what changes no number there."""
STEMS = {NETWORK: NETWORK, ENCODER: "pytorch_model"}
"""Names of weight files: as safetensors, and as pickled before them."""
VARIANTS = {"": 0, "fp32": 1, "fp16": 2, "bf16": 3}
"""What may stand in their names, in the order in which one is taken."""

OLD_ATTENTION = re.compile(r"(.*\battentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))")
NEW = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
GONE = re.compile(r".*\.position_ids")  # numbers 0, 1, 2, ... that older files carry


class Parts(NamedTuple):
    """What a folder is made of. configs, tensors: by component, "" for one alone; the scheduler has no tensors.

    pipeline: its index, None for one component alone. files: further ones by path, text or JSON. stems: names of
    weight files other than `NETWORK`.
    """

    configs: Mapping[str, Mapping[str, Any]]
    tensors: Mapping[str, Mapping[str, Tensor]]
    pipeline: Mapping[str, Any] | None
    files: Mapping[str, Any] = {}
    stems: Mapping[str, str] = {}


def is_diffusers(path: Path) -> bool:
    """True if `path` looks like a folder of diffusers: a pipeline, or one of its components."""
    if (path / INDEX).is_file():
        return True
    return (path / CONFIG).is_file() and "_class_name" in read_json(path / CONFIG)


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; `UsageError` where there is none."""
    if not path.exists():
        raise UsageError(f"{path}: no such file. Give a folder that diffusers saved.")
    try:
        content = json.loads(text.read(path, LONGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is not readable JSON ({error}). Take another copy of the folder.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: is a {type(content).__name__}, not a mapping. Take another copy of the folder.")
    return content


def part(path: Path, name: str) -> Path:
    """The folder of a pipeline's component: its own, or the pipeline's where that holds the files, as older ones do."""
    return path / name if (path / name).is_dir() else path


def weight_files(folder: Path, stem: str) -> list[Path]:
    """The component's weight files: safetensors before pickled ones, full precision before half; shards are several.

    Raises UsageError where there are none, and for shards that are missing or elsewhere.
    """
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = [(form, _variant(name, form), name) for name in names for form in _forms(stem) if form.fullmatch(name)]
    if not found:
        accepted = (
            f"{stem}.safetensors, {STEMS[stem]}.bin, also in parts or with a variant as in {stem}.fp16.safetensors"
        )
        raise UsageError(f"{folder}: no weights; accepted: {accepted}. Take a whole copy of the folder.")
    order = _forms(stem)
    best = min(found, key=lambda entry: (VARIANTS.get(entry[1], len(VARIANTS)), order.index(entry[0]), entry[2]))
    return _shards(folder / best[2]) if best[2].endswith(".json") else [folder / best[2]]


def _forms(stem: str) -> list[re.Pattern[str]]:
    """Names of weight files and of the lists of their parts; the group is the variant."""
    old = STEMS[stem]
    forms = (
        rf"{stem}(?:\.(\w+))?\.safetensors", rf"{stem}\.safetensors\.index(?:\.(\w+))?\.json",
        rf"{old}(?:\.(\w+))?\.bin", rf"{old}\.bin\.index(?:\.(\w+))?\.json",
    )  # fmt: skip
    return [re.compile(form) for form in forms]


def _variant(name: str, form: re.Pattern[str]) -> str:
    match = form.fullmatch(name)
    return (match[1] or "") if match else ""


def _shards(index: Path) -> list[Path]:
    """The files that an index lists, each once."""
    table = read_json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise UsageError(f"{index}: has no weight_map of weights and files. Take another copy of the folder.")
    names = sorted(set(table.values()))
    for name in names:
        if name != Path(name).name or name in ("", ".", ".."):
            raise UsageError(f"{index}: lists {name!r}; accepted are names of files beside it. Take another copy.")
        if not (index.parent / name).is_file():
            raise UsageError(f"{index}: lists {name}, which is not there. Take a whole copy of the folder.")
    return [index.parent / name for name in names]


def read_weights(folder: Path, stem: str) -> dict[str, Tensor]:
    """The weights by diffusers' names of today; pickled files are read without running anything in them."""
    tensors = [item for file in weight_files(folder, stem) for item in foreign_file.read(file).tensors.items()]
    return {_today(name): tensor for name, tensor in tensors if not GONE.fullmatch(name)}


def _today(name: str) -> str:
    match = OLD_ATTENTION.fullmatch(name)
    return match[1] + NEW[match[2]] + match[3] if match else name


def count_parameters(folder: Path, stem: str) -> int:
    """How many numbers the weight file holds; no weights are read."""
    shapes = [item for file in weight_files(folder, stem) for item in foreign_file.headers(file).items()]
    return sum(math.prod(shape) for name, (_, shape) in shapes if not GONE.fullmatch(name))


def check(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Exactly the module's tensors, or one line that names the first that differs. module: may be on `meta`."""
    if wrong := safetensors.misfit(module, tensors):
        name, shape, expected = wrong
        raise LatentryError(f"{where}: {name}: found {shape}, its config asks for {expected}. Take another copy.")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file and wait until the disk has it."""
    durable.write(path, [(json.dumps(content, indent=2) + "\n").encode()])


def write_component(folder: Path, config: Mapping[str, Any], stem: str, tensors: Mapping[str, Tensor]) -> None:
    """Write config and weights of a component; the folder is made."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config)
    safetensors.write(folder / f"{stem}.safetensors", tensors)
    durable.sync_folder(folder)
