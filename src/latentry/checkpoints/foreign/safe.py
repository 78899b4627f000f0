"""Safetensors files of others: the header is checked before the library opens them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from latentry import safe_header
from latentry.checkpoints import tensors
from latentry.checkpoints.foreign.names import Unreadable
from latentry.safe_header import BadHeader

DTYPES = {text: dtype for dtype, text in tensors.DTYPES.items()} | {"C64": torch.complex64}


def read_safetensors(path: Path, *, weights: bool) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors, mapped from the file, and the texts of its metadata.

    weights: False gives tensors on `meta`. Raises `Unreadable` when the header does not describe the file.
    """
    try:
        header = safe_header.read(path)
    except BadHeader as error:
        raise Unreadable(str(error)) from error
    if weights:
        return tensors.read(path), header.texts
    metas = {
        name: torch.empty(entry.shape, dtype=DTYPES[entry.dtype], device="meta")
        for name, entry in header.tensors.items()
    }
    return metas, header.texts
