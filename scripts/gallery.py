"""Make docs/gallery.md and its pictures: run the commands it shows, and put what they wrote side by side.

python scripts/gallery.py             # all of it, minutes on two cores
python scripts/gallery.py layout edit # some pieces again
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from gallery_pieces import DESK, PIECES, Piece
from PIL import Image, ImageColor, ImageDraw, ImageFont

from latentry.cli import run

ROOT = Path(__file__).resolve().parents[1]
PAGE, PICTURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "gallery"
SIDE, HIGH, GAP, TITLE, MOST = 64, 256, 6, 22, 1024
"""Pixels: the least height of a picture before it is enlarged, and the greatest; between pictures; above a group; the
greatest width."""
CLASSES = ("#3b3f4a", "#e4572e", "#f3a712", "#76b041", "#29a0b1", "#3d5a99", "#a23b72", "#8d99ae")
"""Colours of the numbers of a map of classes."""
HEAD = """# Gallery

One picture for each task, made by the commands above it. `make gallery` makes all of them again, in minutes on two CPU
cores. `models/shapes` comes with latentry; [its card](../models/shapes/README.md) says how it was trained, which anyone
can do again with `latentry train shapes-all`. No sample was chosen: seeds are the first that the commands name.
"""


def page(pieces: tuple[Piece, ...] = PIECES) -> str:
    """The text of the gallery."""
    parts = [HEAD]
    for piece in pieces:
        lines = "\n".join(f"latentry {command}" for command in piece.commands)
        shown = f"![{alternative(piece)}](gallery/{piece.name}.png)"
        parts.append(f"\n## {piece.title}\n\n{piece.text}\n\n```sh\n{lines}\n```\n\n{shown}\n")
    return "".join(parts)


def alternative(piece: Piece) -> str:
    """What the picture shows, for who cannot see it."""
    return f"{piece.title}: " + "; ".join(label for label, _ in piece.shown)


def made(piece: Piece) -> None:
    """Run the commands of a piece from the root of the checkout."""
    for command in piece.commands:
        print(f"latentry {command}", flush=True)
        if (status := run(shlex.split(command))) != 0:
            sys.exit(f"gallery: {piece.name}: latentry {command} ended with {status}")


def emptied(piece: Piece) -> None:
    """Away with what a run before has left, or its pictures would be shown beside the new ones."""
    for _, pattern in piece.shown:
        if pattern.startswith(DESK) and "*" in pattern:
            for file in ROOT.glob(pattern):
                file.unlink()


def picture(piece: Piece) -> Image.Image:
    """The groups of a piece in a row, each with its name above; rows go on below where they are too wide."""
    font, rows = ImageFont.load_default(14), [[]]
    for label, pattern in piece.shown:
        files = sorted(ROOT.glob(pattern))
        if not files:
            sys.exit(f"gallery: {piece.name}: no file is {pattern}")
        group = strip([opened(file, piece.scale) for file in files], label, font)
        if rows[-1] and sum(g.width + 2 * GAP for g in rows[-1]) + group.width > MOST:
            rows.append([])
        rows[-1].append(group)
    lines = [beside(row, 2 * GAP) for row in rows]
    whole = Image.new("RGB", (max(line.width for line in lines), sum(line.height for line in lines)), "white")
    top = 0
    for line in lines:
        whole.paste(line, (0, top))
        top += line.height
    return whole


def opened(file: Path, scale: int) -> Image.Image:
    """A picture as large as others of the page: pixels stay squares."""
    image = coloured(Image.open(file))
    scale *= max(1, SIDE // image.height)
    if image.height > HIGH:
        return image.resize((image.width * HIGH // image.height, HIGH), Image.Resampling.LANCZOS)
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def coloured(image: Image.Image) -> Image.Image:
    """In colours; a map of classes, which is near black, by its numbers."""
    if image.mode in ("L", "P") and max(image.tobytes()) < len(CLASSES):
        image.putpalette([part for colour in CLASSES for part in ImageColor.getrgb(colour)])
    return image.convert("RGB")


def strip(images: list[Image.Image], label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> Image.Image:
    """Pictures side by side with a name above."""
    row = beside(images, GAP)
    whole = Image.new("RGB", (max(row.width, int(font.getlength(label)) + 1), row.height + TITLE + GAP), "white")
    ImageDraw.Draw(whole).text((0, 2), label, fill="black", font=font)
    whole.paste(row, (0, TITLE))
    return whole


def beside(images: list[Image.Image], gap: int) -> Image.Image:
    """Pictures in a row."""
    width = sum(image.width + gap for image in images) - gap
    whole, left = Image.new("RGB", (width, max(image.height for image in images)), "white"), 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + gap
    return whole


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(piece.name for piece in PIECES)}")
    arguments = parser.parse_args()
    chosen = [piece for piece in PIECES if not arguments.names or piece.name in arguments.names]
    os.chdir(ROOT)
    for piece in chosen:
        emptied(piece)
        made(piece)
        picture(piece).save(PICTURES / f"{piece.name}.png", optimize=True)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
