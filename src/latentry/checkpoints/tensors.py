"""Safetensors files, written part by part so that no second copy of the tensors is made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn

from latentry import safe_header
from latentry.checkpoints import durable
from latentry.errors import LatentryError
from latentry.safe_header import BadHeader

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.uint16: "U16",
    torch.uint32: "U32",
    torch.uint64: "U64",
    torch.bool: "BOOL",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}


def size(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of the file that `write` makes, to within the few that pad its header."""
    return len(_header(tensors)) + sum(t.numel() * t.element_size() for t in tensors.values())


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors to one safetensors file and wait until the disk has it.

    Any layout and device are fine; tensors that share memory are written each for itself.
    """
    durable.write(path, _parts(tensors))


def read(path: Path) -> dict[str, Tensor]:
    """The named tensors of a safetensors file, on the CPU; a `LatentryError` when it is not one or is damaged."""
    try:
        safe_header.read(path)  # the library makes objects of whatever a header says, a million of them too
        return load_file(path) if _is_unicode(path) else load(path.read_bytes())
    except BadHeader as error:
        raise LatentryError(f"{path}: {error}") from error
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        if not path.exists():
            raise LatentryError(f"{path}: no such file. If it was pruned just now, try again.") from None
        raise LatentryError(f"{path}: is not a readable safetensors file: {error}. Take another copy.") from error


def misfit(module: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[str, object, object] | None:
    """The first tensor that differs from the module's: name, shape and the module's shape, or words where one has none.

    None where the names and shapes are exactly the module's. module: may be on `meta`.
    """
    own = module.state_dict()
    for name in [*own, *(n for n in tensors if n not in own)]:
        shape = tuple(tensors[name].shape) if name in tensors else "missing"
        expected = tuple(own[name].shape) if name in own else "nothing of that name"
        if shape != expected:
            return name, shape, expected
    return None


def _is_unicode(path: Path) -> bool:
    """The library opens only paths that are; for others the file is read here, at the price of a second copy."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Widest dtypes first, so that every tensor starts at a multiple of its own width."""
    return sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))


def _header(tensors: Mapping[str, Tensor]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name in _order(tensors):
        tensor = tensors[name]
        if tensor.dtype not in DTYPES:
            raise LatentryError(f"{name}: {tensor.dtype} cannot be saved; known: {', '.join(DTYPES.values())}.")
        end = start + tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[bytes | memoryview]:
    yield _header(tensors)
    for name in _order(tensors):
        flat = tensors[name].detach().cpu().contiguous().reshape(-1)
        if flat.numel():
            yield flat.view(torch.uint8).numpy().data
