"""Standard published weight files: found on this machine, or downloaded once and checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import pickle
import tempfile
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from latentry import safe_header
from latentry.errors import LatentryError, UsageError, did_you_mean

HEADS = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1"
BACKBONES = "https://download.pytorch.org/models"
FIDELITY = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0"
SUFFIXES = (".pth", ".safetensors", ".npz")
FOLDER = "LATENTRY_WEIGHTS"
TIMEOUT = 30.0


class Source(NamedTuple):
    """A published file. name: as stored, ending in `-` and the first digits of its SHA-256; stem: also accepted."""

    name: str
    stem: str
    address: str

    @property
    def digest(self) -> str:
        return Path(self.name).stem.rpartition("-")[2]


SOURCES = {
    "squeezenet": Source("squeezenet1_1-b8a52dc0.pth", "squeezenet1_1", f"{BACKBONES}/squeezenet1_1-b8a52dc0.pth"),
    "vgg16": Source("vgg16-397923af.pth", "vgg16", f"{BACKBONES}/vgg16-397923af.pth"),
    "squeezenet heads": Source("lpips_v0.1_squeeze-4a5350f2.pth", "lpips_v0.1_squeeze", f"{HEADS}/squeeze.pth"),
    "inception": Source(
        "weights-inception-2015-12-05-6726825d.pth",
        "pt_inception-2015-12-05-6726825d",
        f"{FIDELITY}/weights-inception-2015-12-05-6726825d.pth",
    ),
    "vgg16 heads": Source("lpips_v0.1_vgg-a78928a0.pth", "lpips_v0.1_vgg", f"{HEADS}/vgg.pth"),
}


def find(name: str, path: str | os.PathLike[str] | None = None, instead: str = "") -> Path:
    """Where the weights called `name` (a key of `SOURCES`) lie.

    path: a file, used without looking further. Else the folder $LATENTRY_WEIGHTS, then the cache ($XDG_CACHE_HOME or
    ~/.cache, `latentry`), by the published name or its stem; else downloaded into the cache. Raises `LatentryError`.
    instead: what to do or goes on without the file, for the error; else what a perceptual loss can do.
    """
    if path is not None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise UsageError(f"weights of {name}: no file at {file}. Correct the path, or leave it out to look it up.")
        return file
    if name not in SOURCES:
        raise UsageError(f'weights: no "{name}"; known: {", ".join(SOURCES)}{did_you_mean(name, SOURCES)}.')
    there = located(name)
    if there is not None:
        return there
    try:
        return _download(SOURCES[name])
    except (OSError, http.client.HTTPException) as error:
        raise LatentryError(_not_found(name, SOURCES[name], _folders(), error, instead)) from error


def located(name: str) -> Path | None:
    """Where the weights called `name` (a key of `SOURCES`) lie on this machine; None where they must be downloaded."""
    source = SOURCES[name]
    names = (source.name, *(source.stem + suffix for suffix in SUFFIXES))
    return next((folder / one for folder in _folders() for one in names if (folder / one).is_file()), None)


def _folders() -> list[Path]:
    own = os.environ.get(FOLDER)
    return [Path(own).expanduser(), cache()] if own else [cache()]


def read(path: Path) -> dict[str, Tensor]:
    """The float32 tensors of a .pth (weights only, nothing is run), .safetensors or .npz file."""
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                tensors = {k: torch.from_numpy(arrays[k]) for k in arrays.files}
        elif path.suffix == ".safetensors":
            safe_header.read(path)
            tensors = safetensors.torch.load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {k: v.float() for k, v in tensors.items()}
    except (OSError, ValueError, RuntimeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise LatentryError(_unreadable(path, error)) from error
    except (pickle.UnpicklingError, safetensors.SafetensorError, safe_header.BadHeader) as error:
        raise LatentryError(_unreadable(path, error)) from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cache() -> Path:
    """The folder that downloads are kept in; it may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "latentry"
    except RuntimeError:  # no home folder
        return Path(tempfile.gettempdir()) / "latentry"


PUBLISHED = "torchvision's file of the backbone, LPIPS v0.1's of the heads"


def fill(
    module: nn.Module,
    stored: Mapping[str, Tensor],
    path: Path,
    network: str = "this network",
    published: str = PUBLISHED,
) -> None:
    """Copy what the module needs out of a file that may hold more (the classifier).

    stored: the tensors of the file at `path`. network, published: what the file should hold, and which file does, for
    the error.
    Raises LatentryError where a tensor is missing or has another shape.
    """
    own = module.state_dict()
    missing = [k for k, v in own.items() if k not in stored or stored[k].shape != v.shape]
    if missing:
        raise LatentryError(
            f"weights: {path} does not hold {network}: {len(missing)} of {len(own)} tensors are missing or of "
            f"another shape, first `{missing[0]}`. Give {published}."
        )
    module.load_state_dict({k: stored[k] for k in own})


def _download(source: Source) -> Path:
    """Fetch into the cache under a passing name, check, then rename, so that no reader sees half a file."""
    target = cache() / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f"{source.name}.")
    partial, digest = Path(name), hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(source.address, timeout=TIMEOUT) as answer:
            while block := answer.read(1 << 20):
                file.write(block)
                digest.update(block)
        if not digest.hexdigest().startswith(source.digest):
            raise OSError(f"the download has SHA-256 {digest.hexdigest()[:8]}..., expected {source.digest}...")
        partial.chmod(0o644)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _not_found(name: str, source: Source, folders: list[Path], error: Exception, instead: str) -> str:
    searched = [str(folder) for folder in folders]
    if len(searched) == 1:
        searched.insert(0, f"${FOLDER} (not set)")
    found = (
        f"weights of {name}: {source.name} was not found in {', '.join(searched)}, and {source.address} could not be "
        f"downloaded ({error}). "
    )
    if instead:
        return f"{found}Put the file (its SHA-256 begins with {source.digest}) into one of these folders. {instead}"
    smaller = "`perceptual: squeezenet` (5 MB), " if name.startswith("vgg16") else ""
    option = "heads" if name.endswith("heads") else "backbone"
    return (
        f"{found}Use `perceptual: none`, {smaller}or supply the file: in one of these folders, or as "
        f"`perceptual: {{{option}: PATH}}`."
    )


def _unreadable(path: Path, error: Exception) -> str:
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"weights: {path} cannot be read ({first}); accepted are .pth, .safetensors and .npz files of plain tensors. "
        "Delete it to download it again, or give another."
    )
