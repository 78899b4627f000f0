"""Images larger than memory: `python benchmarks/tiles.py [--model models/emoji] [--megapixels 1 4] [--seams]`.

For each size an image is decoded from latents in a process of its own, in tiles, up to `--whole` also whole, and
the peak of its memory and the processor's seconds are printed, with the PSNR of one against the other; then the time of
0.1 and of one gigapixel at the last size's rate. Layers are local, so that their time grows with the area; attention at
the lowest resolution grows with its square, and is timed apart. `--random` takes a first stage of the published
width (channels 128 x 1, 2, 4, 4, attention in the middle) with random weights instead of the model's.
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
from pathlib import Path

import numpy as np
import tifffile
import torch
from torch import Tensor

import latentry as lt
from latentry.data.files.large import save_tiles
from latentry.metrics.gradients import seam_ratio
from latentry.models import tiles
from latentry.models.autoencoder import Autoencoder
from latentry.models.config import AutoencoderOptions
from latentry.pipeline import Pipeline
from latentry.pipeline.pictures.large import tiles_of
from latentry.windows import starts

RANDOM = AutoencoderOptions(multipliers=(1, 2, 4, 4))


def first_stage(arguments: argparse.Namespace) -> Autoencoder:
    if not arguments.random:
        return lt.load(arguments.model, device=arguments.device).autoencoder
    torch.manual_seed(0)
    return Autoencoder(RANDOM, 3).eval().to(arguments.device)


def latents(autoencoder: Autoencoder, megapixels: float) -> Tensor:
    """Smooth noise, so that statistics differ from place to place."""
    side = round(math.sqrt(megapixels * 2**20) / autoencoder.factor)
    torch.manual_seed(1)
    coarse = torch.randn(1, autoencoder.latent_channels, 8, 8)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear") + 0.5 * torch.randn(
        1, autoencoder.latent_channels, side, side
    )


def once(arguments: argparse.Namespace) -> None:
    """Decode one image into a file, and print what it took: the work of a process of its own."""
    autoencoder = first_stage(arguments)
    z = latents(autoencoder, arguments.megapixels[0]).to(arguments.device)
    before, start, wall = peak(), time.process_time(), time.perf_counter()
    with torch.no_grad():
        if arguments.once == "whole":
            image = autoencoder.decode(z).cpu()
            np.save(arguments.file, image[0].permute(1, 2, 0).numpy())
        else:
            source = tiles.decode(autoencoder, z, Path(arguments.file).parent)
            shape = (source.height, source.width, source.channels)
            save_tiles(Path(arguments.file), tiles_of(source), shape, tiles.SIDE, 16)
    took = {
        "seconds": time.process_time() - start,
        "wall": time.perf_counter() - wall,
        "peak": peak(),
        "loaded": before,
    }
    print(json.dumps({**took, "disk": tiles.disk_bytes(autoencoder.decoder, (z.shape[2], z.shape[3]))}))


def peak() -> float:
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def apart(arguments: argparse.Namespace, how: str, megapixels: float, file: Path) -> dict[str, float]:
    words = [sys.executable, __file__, "--once", how, "--megapixels", str(megapixels), "--file", str(file)]
    words += ["--model", arguments.model, "--device", arguments.device, *["--random"] * arguments.random]
    result: dict[str, float] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return result


def psnr(whole: Path, tiled: Path) -> float:
    """Of what was saved at 16 bits against the whole in fp32, clipped to the same range; 16 bits alone give 107 dB."""
    a = np.clip((np.load(whole).astype(np.float64) + 1) / 2, 0, 1)
    return -10 * math.log10(max(float(np.square(a - tifffile.imread(tiled) / 65535).mean()), 1e-30))


def decoding(arguments: argparse.Namespace) -> None:
    rate = 0.0
    for megapixels in arguments.megapixels:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            whole, tiled = Path(folder) / "whole.npy", Path(folder) / "tiled.tif"
            took = apart(arguments, "tiled", megapixels, tiled)
            rate = took["seconds"] / megapixels
            print(
                f"{megapixels:g} megapixels in tiles: peak {took['peak']:.2f} GB ({took['loaded']:.2f} before), "
                f"{took['seconds']:.1f} s of a processor ({took['wall']:.1f} s by the clock), "
                f"temporary files {took['disk'] / 1e9:.1f} GB",
                flush=True,
            )
            if megapixels <= arguments.whole:
                other = apart(arguments, "whole", megapixels, whole)
                print(
                    f"    whole: peak {other['peak']:.2f} GB, {other['seconds']:.1f} s; "
                    f"tiles against it: PSNR {psnr(whole, tiled):.1f} dB (wanted: at least 60)",
                    flush=True,
                )
    print(f"at this rate, of its layers: 0.1 gigapixel {rate * 100 / 60:.0f} min, one {rate * 1000 / 3600:.1f} h")


def attention(arguments: argparse.Namespace) -> None:
    """Seconds of the middle's attention, which looks from each pixel of the latent at all others."""
    from latentry.nn.coder import PixelAttention
    from latentry.nn.tiled import layers
    from latentry.nn.tiled.plane import Room

    autoencoder = first_stage(arguments)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/emoji")
    parser.add_argument("--random", action="store_true", help="a first stage of the published width, random weights")
    parser.add_argument("--megapixels", type=float, nargs="+", default=[1, 4, 16])
    parser.add_argument("--whole", type=float, default=4, help="megapixels up to which it is decoded whole too")
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
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.once:
        once(arguments)
    elif arguments.seams:
        seams(arguments)
    elif arguments.attention:
        attention(arguments)
    else:
        decoding(arguments)


if __name__ == "__main__":
    main()
