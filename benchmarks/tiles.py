"""Images larger than memory: `python benchmarks/tiles.py [--model models/shapes] [--megapixels 1 4 16 100] [--seams]`.

For each size an image, a mosaic of scenes, lies in a tiled BigTIFF. A process of its own encodes it by windows and
decodes it into another, as `latentry reconstruct` does with large images; another one does it whole, up to `--whole`
megapixels. Printed are the peaks of memory, the seconds, the PSNR of one against the other, and the energy of
differences across the tiles' borders over that elsewhere, beside the same of the whole; then the time of 0.1 and of one
gigapixel at the last size's rate. Ends with 1 where a figure misses what is wanted. Layers are local: their time grows
with the area. Attention at the lowest resolution grows with its square, and is timed apart (`--attention`). `--random`
takes a first stage of the published width (channels 128 x 1, 2, 4, 4, attention in the middle) with random weights.
`--seams` draws an image of several tiles and compares gradient energies at the tiles' borders with those elsewhere.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray
from torch import Tensor

import latentry as lt
from latentry.data.files.large import save_tiles
from latentry.data.shapes import generate_scenes
from latentry.metrics.gradients import seam_ratio
from latentry.models import tiles
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions, DataFacts
from latentry.pipeline import Pipeline
from latentry.pipeline.pictures.large import tiles_of
from latentry.tasks.inputs.large import opened
from latentry.windows import cover, starts

RANDOM = AutoencoderOptions(multipliers=(1, 2, 4, 4))
MOST = 2.5
"""GB that a process may take for an image in tiles, of any size."""
LEAST, SEAM = 60.0, 0.05
"""PSNR in dB of tiles against the whole, and how far energies at borders may be from those elsewhere."""
SCENES, CELL, LOT = 64, 64, 401
COS, SIN = math.cos(0.5), math.sin(0.5)
"""Scenes, their side, after how many they come again, and how askew they lie."""


def first_stage(arguments: argparse.Namespace) -> tuple[Autoencoder, DataFacts]:
    if not arguments.random:
        pipe = lt.load(arguments.model, device=arguments.device)
        return pipe.autoencoder, pipe.config.data
    torch.manual_seed(0)
    return Autoencoder(RANDOM, 3).eval().to(arguments.device), DataFacts(size=(256, 256), channels=3)


def mosaic(path: Path, side: int, channels: int) -> None:
    """Write an image of side x side, of pieces of scenes side by side, drawn by lot.

    They lie askew, so that every line between rows and between columns crosses as much as any other.
    """
    pieces = np.stack([scene.image for scene in generate_scenes(SCENES)])
    pieces = pieces if channels == 3 else np.repeat(pieces[..., :1], channels, -1)
    lot = np.random.default_rng(0).integers(SCENES, size=(LOT, LOT))

    def parts() -> Iterator[NDArray[np.float32]]:
        for window in cover(side, side, tiles.SIDE):
            y, x = np.ogrid[window.top : window.bottom, window.left : window.right]
            down, across = (np.floor(each).astype(int) for each in (y * COS - x * SIN, x * COS + y * SIN))
            which = lot[down // CELL % LOT, across // CELL % LOT]
            yield (pieces[which, down % CELL, across % CELL] / 255).astype(np.float32)

    save_tiles(path, parts(), (side, side, channels), tiles.SIDE, alpha=channels in (2, 4))


@torch.no_grad()
def once(arguments: argparse.Namespace) -> dict[str, float]:
    """Encode an image file and decode it into another: the work of a process of its own. What it took."""
    autoencoder, facts = first_stage(arguments)
    image, file = Path(arguments.image), Path(arguments.file)
    loaded, used, begun = peak(), time.process_time(), time.perf_counter()
    if arguments.once == "whole":
        pixels = np.atleast_3d(tifffile.imread(image)).astype(np.float32)
        x = torch.from_numpy(pixels).movedim(-1, 0)[None] / 127.5 - 1
        z = autoencoder.latent(autoencoder.moments(x.to(arguments.device)))
        encoded = time.perf_counter()
        np.save(file, autoencoder.decode(z).cpu()[0].permute(1, 2, 0).numpy())
    else:
        with mock.patch.object(tiles, "LARGE", 0), opened(image, facts, autoencoder.factor) as source:
            assert source is not None
            moments = tiles.moments(autoencoder, source, file.parent).to(arguments.device)
        z, encoded = autoencoder.latent(moments), time.perf_counter()
        decoded = tiles.decode(autoencoder, z, file.parent)
        shape = (decoded.height, decoded.width, decoded.channels)
        save_tiles(file, tiles_of(decoded), shape, tiles.SIDE, 16, alpha=facts.alpha)
    return {
        "processor": time.process_time() - used,
        "encoding": encoded - begun,
        "decoding": time.perf_counter() - encoded,
        "peak": peak(),
        "loaded": loaded,
        "disk": tiles.disk_bytes(autoencoder.decoder, (z.shape[2], z.shape[3])),
    }


def peak() -> float:
    """The most memory that this process has had, in GB; not what its parent had, as Linux counts it in `resource`."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def apart(arguments: argparse.Namespace, how: str, image: Path, file: Path) -> dict[str, float]:
    words = [sys.executable, __file__, "--once", how, "--image", str(image), "--file", str(file)]
    words += ["--model", arguments.model, "--device", arguments.device, *["--random"] * arguments.random]
    words += ["--threads", str(arguments.threads)]
    result: dict[str, float] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return result


def psnr(whole: Path, tiled: Path) -> float:
    """Of what was saved at 16 bits against the whole in fp32, clipped to the same range; 16 bits alone give 107 dB."""
    a, b = np.load(whole, mmap_mode="r"), tifffile.imread(tiled).reshape(np.load(whole, mmap_mode="r").shape)
    total = 0.0
    for row in range(0, len(a), tiles.SIDE):
        rows = np.clip((a[row : row + tiles.SIDE].astype(np.float64) + 1) / 2, 0, 1) - b[row : row + tiles.SIDE] / 65535
        total += float(np.square(rows).sum())
    return -10 * math.log10(max(total / a.size, 1e-30))


def lines(image: NDArray[np.generic]) -> list[NDArray[np.float64]]:
    """Of an image (H, W, C) the mean squared difference across each line between rows, (H - 1,), and columns."""
    down, across = np.zeros(image.shape[0] - 1), np.zeros(image.shape[1] - 1)
    for row in range(0, len(image), tiles.SIDE):
        part = image[row : row + tiles.SIDE + 1].astype(np.float32)
        between = np.square(np.diff(part, axis=0)).mean((1, 2))
        down[row : row + len(between)] = between
        across += np.square(np.diff(part[: tiles.SIDE], axis=1)).mean(2).sum(0)
    return [down, across / len(image)]


def at_borders(image: NDArray[np.generic], factor: int) -> float:
    """Energy across the tiles' borders over that of the other lines between pixels of the latent: 1 without seams.

    Lines within these do not compare: a decoder may draw each pixel of the latent as a square with edges of its own.
    """
    borders, others = list[float](), list[float]()
    for energy in lines(image):
        for line in range(factor, len(energy) + 1, factor):
            (borders if line % tiles.SIDE == 0 else others).append(float(energy[line - 1]))
    return float(np.mean(borders) / np.mean(others))


def roundtrips(arguments: argparse.Namespace) -> bool:
    """Each size in a folder of its own; whether all is as it is wanted."""
    took = []
    for megapixels in arguments.megapixels:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            took.append(roundtrip(arguments, megapixels, Path(folder)))
    peaks, rate = [each["peak"] for each in took], took[-1]["seconds"] / took[-1]["megapixels"]
    print(f"peaks from {min(peaks):.2f} to {max(peaks):.2f} GB (wanted: at most {MOST:g})")
    print(f"at the last rate: 0.1 gigapixel {rate * 100 / 60:.1f} min, one gigapixel {rate * 1000 / 3600:.2f} h")
    return max(peaks) <= MOST and all(each["good"] for each in took)


def roundtrip(arguments: argparse.Namespace, megapixels: float, folder: Path) -> dict[str, float]:
    """One size in tiles and, where it fits, whole."""
    autoencoder, facts = first_stage(arguments)
    factor = autoencoder.factor
    image, whole, tiled = (folder / name for name in ("image.tif", "whole.npy", "tiled.tif"))
    side = round(math.sqrt(megapixels * 1e6) / factor) * factor
    mosaic(image, side, facts.channels)
    took = apart(arguments, "tiled", image, tiled)
    borders, fits = at_borders(tifffile.imread(tiled).reshape(side, side, -1), factor), megapixels <= arguments.whole
    seam, alike = borders, math.inf
    print(
        f"{side}x{side} in tiles: {told(took)}, temporary files {took['disk'] / 1e9:.1f} GB; energy at tiles' borders "
        f"over that elsewhere {borders:.3f}{'' if fits else f' (wanted: 1 within {SEAM})'}",
        flush=True,
    )
    if fits:
        other, alike = apart(arguments, "whole", image, whole), psnr(whole, tiled)
        seam = borders / at_borders(np.clip(np.load(whole), -1, 1), factor)
        print(
            f"    whole: {told(other)}; tiles against it: PSNR {alike:.1f} dB (wanted: at least {LEAST:g}), energy at "
            f"borders {seam:.4f} of its (wanted: 1 within {SEAM})",
            flush=True,
        )
    good = abs(seam - 1) <= SEAM and alike >= LEAST
    return {**took, "seconds": took["encoding"] + took["decoding"], "megapixels": side**2 / 1e6, "good": good}


def told(took: dict[str, float]) -> str:
    return (
        f"peak {took['peak']:.2f} GB ({took['loaded']:.2f} before), {took['encoding']:.1f} s to encode and "
        f"{took['decoding']:.1f} s to decode ({took['processor']:.1f} s of a processor)"
    )


def attention(arguments: argparse.Namespace) -> None:
    """Seconds of the middle's attention, which looks from each pixel of the latent at all others."""
    from latentry.nn.coder import PixelAttention
    from latentry.nn.tiled import layers
    from latentry.nn.tiled.plane import Room

    autoencoder, _ = first_stage(arguments)
    middle = autoencoder.decoder.middle.attention
    if not isinstance(middle, PixelAttention):
        print("the first stage has no attention in the middle")
        return
    room, side = Room(device=arguments.device), 96
    plane = layers.sweep(
        room.plane(middle.query.in_channels, side, side),
        middle.query.in_channels,
        lambda window: torch.randn(1, middle.query.in_channels, window.height, window.width),
    )
    start = time.process_time()
    layers.attention(middle, plane)
    each = (time.process_time() - start) / side**4
    for name, pixels in (("1 megapixel", 2**20), ("100 megapixels", 1e8), ("a gigapixel", 1e9)):
        count = pixels / autoencoder.factor**2
        print(f"attention of {name}: {each * count**2 / 3600:.3g} h of a processor")


def seams(arguments: argparse.Namespace) -> None:
    """Gradient energy of the latent across tiles' borders over that elsewhere, beside those places of a whole one."""
    pipe = lt.load(arguments.model, device=arguments.device)
    height, width = arguments.size
    side, overlap = arguments.tile // pipe.autoencoder.factor, arguments.overlap // pipe.autoencoder.factor
    how = {"size": (height, width), "steps": arguments.steps, "seed": 0}
    ratios: dict[str, float] = {}
    for name, tiling in (("whole", {}), ("tiles", {"tile": arguments.tile, "overlap": arguments.overlap})):
        x = final(pipe, arguments.prompt, {**how, **tiling})
        ratios[name] = ratio(x, side, overlap)
        print(f"{name}: energy at tiles' borders over that elsewhere {ratios[name]:.3f}", flush=True)
        if arguments.save:
            pipe.sample(arguments.prompt, **how, **tiling).save(Path(arguments.save) / f"{name}.png")
    print(f"tiles over whole: {ratios['tiles'] / ratios['whole']:.3f} (wanted: 0.95 to 1.05)")


def final(pipe: Pipeline, prompt: str | None, options: dict[str, object]) -> Tensor:
    return [*pipe.steps(prompt, **options)][-1].x


def ratio(x: Tensor, side: int, overlap: int) -> float:
    """Energy across the first and last pixel of every tile's overlap over that of all other neighbours."""
    rows, columns = (borders(length, side, overlap) for length in x.shape[2:])
    return float(seam_ratio(x, rows, columns).mean())


def borders(length: int, side: int, overlap: int) -> set[int]:
    """The first pixel of each tile, and the first behind it."""
    return {p for s in starts(length, side, overlap) for p in (s, s + side) if 0 < p < length}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/shapes")
    parser.add_argument("--random", action="store_true", help="a first stage of the published width, random weights")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 16, 100])
    parser.add_argument("--whole", type=float, default=16, help="megapixels up to which it is done whole too")
    parser.add_argument("--scratch", default=None, help="folder for temporary files")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--attention", action="store_true", help="time attention alone")
    parser.add_argument("--seams", action="store_true", help="seam energies of sampling in tiles alone")
    parser.add_argument("--prompt", default="a red apple")
    parser.add_argument("--size", type=int, nargs=2, default=[512, 1024])
    parser.add_argument("--tile", type=int, default=64)
    parser.add_argument("--overlap", type=int, default=32)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--save", help="folder for the pictures of --seams")
    parser.add_argument("--once", choices=["whole", "tiled"], help=argparse.SUPPRESS)
    parser.add_argument("--image", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.once:
        print(json.dumps(once(arguments)))
    elif arguments.seams:
        seams(arguments)
    elif arguments.attention:
        attention(arguments)
    else:
        return 0 if roundtrips(arguments) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
