"""Folders of real images for tasks: unpacked where they are shared, and what training keeps out of them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import torch
from torch import Tensor

from latentry.data.dataset import ImageData
from latentry.data.options import DataOptions
from latentry.errors import UsageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
ARCHIVES = {"emoji": ("emoji",), "photos": ("flowers", "coco_open", "kodak")}
SIDE = 128
"""Of the images of `small-sr`."""
IMAGES = (".png", ".jpg", ".jpeg")
VARIANTS = "skin_tone"
"""The field of drawings that are others in another tone: one in training gives one that is kept out away."""


def unpacked(name: str, out: Path, shared: Path = SHARED) -> Path:
    """A folder of `ARCHIVES`, unpacked once into `out`: images and, of a single archive, what is said of them.

    Raises UsageError where an archive is not there.
    """
    folder, archives = out / name, [shared / f"{archive}.tar" for archive in ARCHIVES[name]]
    if folder.is_dir():
        return folder
    if missing := [archive.name for archive in archives if not archive.is_file()]:
        raise UsageError(f"sr-{name}: {', '.join(missing)} not in {shared}; --data names a folder of images")
    fresh = out / f"{name}.tmp"
    for archive in archives:
        with tarfile.open(archive) as tar:
            tar.extractall(fresh, [member for member in tar if _wanted(member.name, len(archives))], filter="data")
    if len(archives) == 1:
        (fresh / name).rename(folder)
        fresh.rmdir()
    else:
        fresh.rename(folder)
    return folder


def _wanted(path: str, archives: int) -> bool:
    """Whether it is an image, and no map or licence; or the metadata of an archive that stands alone."""
    aside = any(part.startswith(("semantic", "licences")) for part in Path(path).parts[:-1])
    return not aside and (Path(path).suffix in IMAGES or (archives == 1 and Path(path).name == "metadata.jsonl"))


def chosen(folder: Path) -> dict[str, None]:
    """`data.where` of a folder: drawings that are no variants of others, where it names variants."""
    metadata = folder / "metadata.jsonl"
    lines = metadata.read_text(encoding="utf-8").splitlines()[:1] if metadata.is_file() else []
    return {VARIANTS: None} if any(f'"{VARIANTS}"' in line for line in lines) else {}


def kept_out(folder: Path, size: int | tuple[int, int]) -> ImageData:
    """The images that training keeps out. Raises UsageError where it keeps none."""
    data = ImageData(DataOptions(size=size, where=chosen(folder)), folder, "held_out")
    if not len(data):
        raise UsageError(f"{folder}: training would keep no image out, so that there is none to measure. Add some.")
    return data


def held_out(folder: Path, size: int | tuple[int, int], count: int) -> Tensor:
    """(B, 3, H, W) in [0, 1] of 8 bits: at most `count` of them."""
    data = kept_out(folder, size)
    images = torch.stack([data.sample(index).image for index in range(min(count, len(data)))])
    return (images / 2 + 0.5).mul(255).round() / 255


def training(folder: Path, quick: bool) -> dict[str, object]:
    """Overrides of a recipe that is trained on the others; quick: without a pass over all of them."""
    own: dict[str, object] = {"data.channels": 3, "data.where": chosen(folder)}
    return own | ({"diffusion.train.cache_latents": False} if quick else {})
