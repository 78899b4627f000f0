"""Show what latentry does: images of the shipped model, then `tiny-shapes` trained from scratch and measured.

    python scripts/demo.py --out demo

The page is the report of `latentry evaluate` on what was trained, with two sections of this script ahead of it.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

import latentry as lt
from latentry.data import shapes
from latentry.evaluation.report import pieces
from latentry.evaluation.report import write as write_page
from latentry.pipeline import Pipeline

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = [
    "red apple",
    "pizza",
    "panda",
    "blue heart",
    "sunflower",
    "rocket",
    "cat face",
    "rainbow",
    "cake",
    "snowman",
    "tulip",
    "fire",
]
SEEN = ("a red circle", "a green triangle", "a yellow star", "a pink cross", "a cyan ring", "a yellow square")
UNSEEN = ("a black cross", "a black ring", "a blue square", "a pink ring", "a white ring", "a white star")
"""Pairs that the held-out split keeps whole."""
IMAGES, SAMPLES = 8000, 200
QUICK: dict[str, Any] = {"autoencoder.train.steps": 20, "diffusion.train.steps": 20}
TARGETS = {
    "judge right on real held-out images": 0.99,
    "judge right on their reconstructions": 0.97,
    "shape and colour right in": 0.85,
    "of pairs never trained on": 0.50,
}
"""What is asked for, by words of the figure's name; the last that fit."""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "emoji")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that it runs")
    words = parser.parse_args()
    demo(words.out, words.model, *((400, 8, QUICK) if words.quick else (IMAGES, SAMPLES, {})))


def demo(out: Path, model: Path, images: int, samples: int, overrides: Mapping[str, Any]) -> None:
    """Images of `model`, then a training on so many images, measured by so many samples, into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    ahead = [shipped(model, out), trained(out, images, overrides)]
    print("measuring tiny-shapes", flush=True)
    found = lt.evaluate(out / "run", out / "shapes", out=out, samples=samples)
    page = write_page(out, found, ahead)
    print(f"open {page} ({time.monotonic() - begun:.0f} s)")


def shipped(model: Path, out: Path) -> str:
    """A sheet of the model that comes with latentry."""
    title = "Emoji, from the shipped model"
    if not (model / "model.yaml").is_file():
        return pieces.section(title, pieces.paragraph(f"There is no model at {model.name}; nothing to show here."))
    print(f"sampling {len(PROMPTS)} prompts from {model.name}", flush=True)
    start = time.monotonic()
    pipe = lt.load(model)
    drawn = pipe.sample(list(PROMPTS), n=1, seed=3)
    drawn.grid(columns=6).save(out / "emoji.png")
    named = [f"{text} (not in training)" if pipe.unknown_words(text) else text for text in PROMPTS]
    words = (
        f"Twelve prompts, one image each, seed 3, {pipe.config.sample.steps} evaluations of the network, guidance "
        f"{pipe.config.sample.guidance:g}; {time.monotonic() - start:.0f} s. None was picked by hand."
    )
    return pieces.section(title, pieces.paragraph(words), sheet(drawn.images, named, out, "emoji"))


def trained(out: Path, images: int, overrides: Mapping[str, Any]) -> str:
    """Both stages of `tiny-shapes`, from images made on the spot."""
    data, run = out / "shapes", out / "run"
    if not (data / "metadata.jsonl").is_file():
        shapes.write(data, images, size=64, seed=0)
    print("training tiny-shapes, both stages", flush=True)
    start, told = time.monotonic(), [0.0]

    def progress(p: Any) -> None:
        if time.monotonic() - told[0] > 10:
            told[0] = time.monotonic()
            print(
                f"  {p.stage} step {p.step}/{p.steps}, loss {p.loss:.3f}, {p.images_per_second:.0f}/s",
                flush=True,
            )

    result = lt.train("tiny-shapes", data=data, out=run, overrides=dict(overrides), progress=progress)
    minutes = (time.monotonic() - start) / 60
    for name, share in result.figures.items():
        print(f"  {name}: {share}")
    words = (
        f"{images} images of coloured shapes, made on the spot; both stages trained in {minutes:.1f} minutes, judged "
        "by a program that has learned nothing. Below this section it is measured as any model is."
    )
    pipe = lt.load(run / "model")
    return pieces.section(
        "Tiny shapes, trained from scratch",
        pieces.paragraph(words),
        judged(result.figures),
        "<h3>Samples of pairs from training</h3>",
        asked(pipe, out, SEEN, "shapes-seen"),
        "<h3>Samples of pairs never trained on</h3>",
        asked(pipe, out, UNSEEN, "shapes-unseen"),
    )


def judged(figures: Mapping[str, Any]) -> str:
    """What was measured at the end of training, shares beside what is asked for."""
    rows = []
    for name, value in figures.items():
        target = next((least for words, least in reversed(TARGETS.items()) if words in name), None)
        shown = f"{value}" if target is None else f"{value:.1%}"
        rows.append((name, shown, "" if target is None else f"at least {target:.0%}"))
    return pieces.table(("measured", "", "asked for"), rows, frozenset({1}))


def asked(pipe: Pipeline, out: Path, captions: Sequence[str], name: str) -> str:
    """One image of each caption, not chosen, as files and as a sheet of the page."""
    drawn = pipe.sample(list(captions), seed=11)
    drawn.grid(columns=len(captions)).save(out / f"{name}.png")
    return sheet(drawn.images, captions, out, name)


def sheet(images: Sequence[Image.Image], words: Sequence[str], out: Path, name: str) -> str:
    """Images side by side, each also as a file."""
    contents = []
    for i, image in enumerate(images):
        written = io.BytesIO()
        image.save(written, "PNG")
        contents.append(written.getvalue())
        (out / f"{name}-{i}.png").write_bytes(contents[-1])
    return pieces.thumbnails(zip(contents, words, strict=True))


if __name__ == "__main__":
    main()
