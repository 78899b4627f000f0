"""Show what latentry does: images of the shipped model, then `tiny-shapes` trained from scratch, as one page.

python scripts/demo.py --out demo
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import demo_page

import latentry as lt
from latentry.data import shapes

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
IMAGES = 8000


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "emoji")
    parser.add_argument("--quick", action="store_true", help="a few steps only, to see that it runs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    sections = [shipped(arguments.model, arguments.out), trained(arguments.out, arguments.quick)]
    page = demo_page.page(sections, time.monotonic() - begun)
    (arguments.out / "index.html").write_text(page, encoding="utf-8")
    print(f"open {arguments.out / 'index.html'} ({time.monotonic() - begun:.0f} s)")


def shipped(model: Path, out: Path) -> str:
    """A sheet of the model that comes with latentry."""
    if not (model / "model.yaml").is_file():
        return demo_page.section(
            "The shipped model", f"<p>There is no model at <code>{model.name}</code>; nothing to show here.</p>"
        )
    print(f"sampling {len(PROMPTS)} prompts from {model.name}", flush=True)
    start = time.monotonic()
    pipe = lt.load(model)
    drawn = pipe.sample(list(PROMPTS), n=1, seed=3)
    cells = []
    for text, image in zip(PROMPTS, drawn.images, strict=True):
        name = f"emoji-{text.replace(' ', '-')}.png"
        image.save(out / name)
        cells.append((name, f"{text} (not in training)" if pipe.unknown_words(text) else text))
    drawn.grid(columns=6).save(out / "emoji.png")
    words = (
        f"<p>Twelve prompts, one image each, seed 3, {pipe.config.sample.steps} steps, "
        f"guidance {pipe.config.sample.guidance:g}; "
        f"{time.monotonic() - start:.0f} s. None was picked by hand.</p>"
    )
    return demo_page.section("Emoji, from the shipped model", words + demo_page.sheet(cells))


def trained(out: Path, quick: bool) -> str:
    """Both stages of `tiny-shapes`, from images made on the spot."""
    data, run = out / "shapes", out / "run"
    if not (data / "metadata.jsonl").is_file():
        shapes.write(data, 400 if quick else IMAGES, size=64, seed=0)
    overrides: dict[str, Any] = {"autoencoder.train.steps": 20, "diffusion.train.steps": 20} if quick else {}
    print("training tiny-shapes, both stages", flush=True)
    start, told = time.monotonic(), [0.0]

    def progress(p: Any) -> None:
        if time.monotonic() - told[0] > 10:
            told[0] = time.monotonic()
            print(
                f"  {p.stage} step {p.step}/{p.steps}, loss {p.loss:.3f}, {p.images_per_second:.0f}/s",
                flush=True,
            )

    result = lt.train("tiny-shapes", data=data, out=run, overrides=overrides, progress=progress)
    minutes = (time.monotonic() - start) / 60
    for name, share in result.figures.items():
        print(f"  {name}: {share}")
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    words = (
        f"<p>{IMAGES} images of coloured shapes, made on the spot; both stages trained in {minutes:.1f} minutes, "
        "judged by a program that has learned nothing.</p>"
    )
    return demo_page.section(
        "Tiny shapes, trained from scratch",
        words + _curves(rows) + _pictures(run, out) + demo_page.table(result.figures),
    )


def _curves(rows: list[dict[str, Any]]) -> str:
    def points(stage: str, key: str) -> list[tuple[float, float]]:
        return [(row["step"], row[key]) for row in rows if row["stage"] == stage and key in row]

    return demo_page.row(
        demo_page.curve("First stage: mean absolute error", points("autoencoder", "pixel")),
        demo_page.curve("Second stage: error of the prediction", points("diffusion", "error")),
    )


def _pictures(run: Path, out: Path) -> str:
    """Reconstructions of held-out images, and samples with their captions."""
    newest = max((run / "samples").glob("autoencoder-*.png"))
    (out / "reconstructions.png").write_bytes(newest.read_bytes())
    held_out = '<img class="wide" src="reconstructions.png" alt="images above their reconstructions">'
    return (
        "<h3>Held-out images, and below each its reconstruction</h3>" + held_out
        + "<h3>Samples of pairs from training</h3>" + _samples(run, out, SEEN, "seen")
        + "<h3>Samples of pairs never trained on</h3>" + _samples(run, out, UNSEEN, "unseen")
    )  # fmt: skip


def _samples(run: Path, out: Path, captions: Sequence[str], name: str) -> str:
    """One image of each caption, not chosen, as files and as a sheet of the page."""
    drawn = lt.load(run / "model").sample(list(captions), seed=11)
    drawn.grid(columns=len(captions)).save(out / f"shapes-{name}.png")
    cells = []
    for i, image in enumerate(drawn.images):
        cells.append((f"shape-{name}-{i}.png", captions[i]))
        image.save(out / cells[-1][0])
    return demo_page.sheet(cells)


if __name__ == "__main__":
    main()
