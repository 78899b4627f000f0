"""The files of one component of a diffusers folder: a config and weights."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from latentry import text
from latentry.checkpoints import durable
from latentry.checkpoints import tensors as safetensors
from latentry.checkpoints.foreign import file as foreign_file
from latentry.errors import LatentryError, UsageError

INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
LONGEST_JSON = 1_000_000  # bytes of a config
NETWORK, ENCODER = "diffusion_pytorch_model", "model"
STEMS = {NETWORK: NETWORK, ENCODER: "pytorch_model"}
"""Names of weight files: as safetensors, and as pickled before them."""

OLD_ATTENTION = re.compile(r"(.*\battentions\.\d+\.)(query|key|value|proj_attn)(\.(?:weight|bias))")
NEW = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
GONE = re.compile(r".*\.position_ids")  # numbers 0, 1, 2, ... that older files carry


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


def weight_file(folder: Path, stem: str) -> Path:
    """The component's weight file, safetensors before pickled ones and full precision before half."""
    names = [f"{stem}.safetensors", f"{stem}.fp16.safetensors", f"{STEMS[stem]}.bin", f"{STEMS[stem]}.fp16.bin"]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"{folder}: no weights; accepted: {', '.join(names)}. Save the model again in one file.")


def read_weights(folder: Path, stem: str) -> dict[str, Tensor]:
    """The weights by diffusers' names of today; pickled files are read without running anything in them."""
    tensors = foreign_file.read(weight_file(folder, stem)).tensors
    return {_today(name): tensor for name, tensor in tensors.items() if not GONE.fullmatch(name)}


def _today(name: str) -> str:
    match = OLD_ATTENTION.fullmatch(name)
    return match[1] + NEW[match[2]] + match[3] if match else name


def count_parameters(folder: Path, stem: str) -> int:
    """How many numbers the weight file holds; no weights are read."""
    shapes = foreign_file.headers(weight_file(folder, stem)).items()
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
