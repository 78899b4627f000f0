"""Every figure of the emoji model by one command, with what each has to reach.

    LATENTRY_WEIGHTS=weights python benchmarks/emoji_figures.py models/emoji --data emoji --out figures
    python benchmarks/emoji_figures.py runs/emoji --data emoji --out figures

Writes figures.json, sheet.png (64 random prompts; prompts.json), training_captions.png (left of each sample the image
it was asked for) and reconstructions.png. Samples are asked for by their caption alone, from which the model may guess
the kind of emoji, but for the figures `..._told_the_label`, where the kind is asked for besides, and
`..._without_guess`, where none is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentry import config, rng
from latentry.data.dataset import ImageData
from latentry.data.files import images
from latentry.data.options import DataOptions
from latentry.errors import LatentryError, UsageError
from latentry.metrics import masked_psnr, psnr
from latentry.metrics.features import SqueezeNetFeatures, vote
from latentry.metrics.nearest import nearest, share_within, small
from latentry.nn import lpips
from latentry.pipeline import Pipeline, load
from latentry.pipeline.output import grid
from latentry.training.plan import recipes as recipe

TARGETS = {
    "psnr_over_white": (28.0, "at least"),
    "psnr_where_alpha": (24.0, "at least"),
    "lpips_squeezenet": (0.05, "at most"),
    "right_in_10_samples": (0.70, "at least"),
    "label_ratio": (0.65, "at least"),
}


@dataclass(frozen=True)
class Split:
    """One split in memory: images (N, C, H, W) in [0, 1], captions, label numbers, and where there is any colour."""

    data: ImageData
    images: Tensor
    texts: list[str]
    labels: list[int]

    @classmethod
    def of(cls, data: ImageData) -> Split:
        samples = [data.sample(i) for i in range(len(data))]
        pictures = torch.stack([s.image for s in samples]) / 2 + 0.5
        return cls(data, pictures, [s.caption for s in samples], [data.label(s.index) for s in samples])

    def seen(self) -> Tensor:
        """Pixels with any alpha at the model's size, (N, H, W) bool: the mean over each pixel is above 0."""
        _, height, width = self.data.shape
        masks = []
        for record in self.data.records:
            array = images.read(self.data.root / record.path)
            alpha = array[..., 3] if array.shape[2] == 4 else np.full(array.shape[:2], 255, np.uint8)
            share = Image.fromarray(alpha.astype(np.float32)).resize((width, height), Image.Resampling.BOX)
            masks.append(torch.from_numpy(np.asarray(share) > 0))
        return torch.stack(masks)


def data_options(model: Path, pipe: Pipeline, name: str | None) -> DataOptions:
    """The recipe's data options: of the run itself, else of the recipe of that name, at the model's size."""
    own = model / "recipe.yaml"
    if name is None and own.is_file():
        return DataOptions(**config.load_yaml(own)["data"])
    options = recipe.load(name or pipe.config.name).data
    return options.model_copy(update={"size": pipe.config.data.size})


def reconstructions(pipe: Pipeline, split: Split, batch: int = 32) -> Tensor:
    """Through the first stage and back, (N, C, H, W) in [0, 1]."""
    parts = [pipe.decode(pipe.encode(part * 2 - 1)) for part in split.images.split(batch)]
    return (torch.cat(parts) / 2 + 0.5).clamp(0, 1)


def first_stage(pipe: Pipeline, held: Split) -> tuple[dict[str, float], Tensor]:
    """How near held-out reconstructions come, and the reconstructions."""
    made = reconstructions(pipe, held)
    distance = lpips.load("squeezenet")
    with torch.no_grad():
        pairs = zip((made * 2 - 1).split(32), (held.images * 2 - 1).split(32), strict=True)
        perceived = torch.cat([distance(x, y) for x, y in pairs])
    figures = {
        "psnr_over_white": float(psnr(made, held.images, 1).mean()),
        "psnr_where_alpha": float(masked_psnr(made, held.images, held.seen(), 1).nanmean()),
        "lpips_squeezenet": float(perceived.mean()),
    }
    return figures, made


def draw(
    pipe: Pipeline, texts: list[str], seed: int, args: argparse.Namespace, labels: list[str] | int | None = None
) -> Tensor:
    """One image of each text (and label), (N, C, H, W) in [0, 1], with a line of progress."""

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{len(texts)} samples: {done}/{total} network calls", end="", file=sys.stderr)

    made = pipe.sample(
        texts, steps=args.steps, guidance=args.guidance, solver=args.solver, seed=seed, progress=progress, label=labels
    )
    return made.tensor


def training_captions(pipe: Pipeline, train: Split, args: argparse.Namespace) -> tuple[dict[str, float], Tensor]:
    """Whether the image of a training caption comes out, and a sheet's images: wanted and sampled in turn."""
    chosen = rng.generator(args.seed, "emoji figures/train").permutation(len(train.texts))[: args.count]
    right, gallery = torch.from_numpy(chosen), small(train.images)
    wanted = train.images[right]
    made = draw(pipe, [train.texts[i] for i in chosen], args.seed, args)
    again = reconstructions(pipe, Split(train.data, wanted, [], []))
    figures = {
        "right_in_10_samples": share_within(small(made), gallery, right),
        "right_in_10_reconstructions": share_within(small(again), gallery, right),
        "right_in_10_chance": 10 / len(gallery),
        "right_first_samples": share_within(small(made), gallery, right, k=1),
        "training_captions": float(len(right)),
    }
    return figures, torch.stack((wanted, made), 1)


def held_out_captions(pipe: Pipeline, train: Split, held: Split, args: argparse.Namespace) -> dict[str, float]:
    """Whether a held-out caption gives an image of the right label, and one that is not a copy."""
    chosen = rng.generator(args.seed, "emoji figures/held out").permutation(len(held.texts))
    chosen = np.sort(chosen[: args.held_out or len(chosen)])
    texts, labels = [held.texts[i] for i in chosen], [held.labels[i] for i in chosen]
    real = held.images[torch.from_numpy(chosen)]
    made = draw(pipe, texts, args.seed + args.count, args)
    features = SqueezeNetFeatures()
    gallery = features(train.images)

    def correct(pictures: Tensor) -> float:
        found = vote(features(pictures), gallery, train.labels)
        return float(np.mean([a == b for a, b in zip(found, labels, strict=True)]))

    names = [held.data.labels[number] for number in labels]
    told = draw(pipe, texts, args.seed + args.count, args, names)
    alone = draw(pipe, texts, args.seed + args.count, args, -1)
    assert pipe.denoiser is not None
    guessed = pipe.denoiser.guessed({"text": texts}).get("label", [None] * len(texts))
    right = {"samples": made, "real": real, "told_the_label": told, "without_guess": alone}
    figures = {f"label_right_{name}": correct(pictures) for name, pictures in right.items()}
    ratio = 1 / max(figures["label_right_real"], 1e-9)
    figures["label_ratio"] = figures["label_right_samples"] * ratio
    figures |= {f"label_ratio_{n}": figures[f"label_right_{n}"] * ratio for n in ("told_the_label", "without_guess")}
    figures["label_right_guess"] = float(np.mean([a == b for a, b in zip(guessed, names, strict=True)]))
    most = max(set(labels), key=labels.count)
    figures["label_chance_most_frequent"] = labels.count(most) / len(labels)
    pixels = small(train.images)
    sampled, genuine = nearest(small(made), pixels), nearest(small(real), pixels)
    figures["closer_than_its_real_image"] = float((sampled < genuine).double().mean())
    figures["closer_than_middle_real"] = float((sampled < genuine.median()).double().mean())
    figures["closer_than_all_but_1_percent_real"] = float((sampled < genuine.quantile(0.01)).double().mean())
    figures["held_out_captions"] = float(len(texts))
    return figures


def sheet(pipe: Pipeline, captions: list[str], args: argparse.Namespace) -> None:
    """64 random prompts of both splits, unchosen, as sheet.png and prompts.json."""
    order = rng.generator(args.seed, "emoji figures/sheet").permutation(len(captions))[:64]
    texts = [captions[i] for i in order]
    grid(draw(pipe, texts, args.seed + 100_000, args), 8).save(args.out / "sheet.png")
    (args.out / "prompts.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def report(figures: dict[str, float]) -> None:
    """One line a figure, with its target where it has one."""
    for name, value in figures.items():
        target, which = TARGETS.get(name, (None, ""))
        verdict = ""
        if target is not None:
            reached = value >= target if which == "at least" else value <= target
            verdict = f"  {which} {target:g}: {'reached' if reached else 'MISSED'}"
        print(f"{name:36} {value:9.4f}{verdict}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="run or model folder")
    parser.add_argument("--data", type=Path, required=True, help="the unpacked emoji folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for figures.json and the sheets")
    parser.add_argument("--recipe", help="whose data options to use (default: the run's own, else by the model's name)")
    parser.add_argument("--count", type=int, default=200, help="training captions to sample")
    parser.add_argument("--held-out", type=int, default=0, help="held-out captions to sample (0 = all)")
    parser.add_argument("--steps", type=int, help="default: the model's own, as for solver and guidance")
    parser.add_argument("--solver")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    args, begun = arguments(), time.monotonic()
    args.out.mkdir(parents=True, exist_ok=True)
    pipe = load(args.model)
    data = ImageData(data_options(args.model, pipe, args.recipe), args.data)
    train, held = Split.of(data), Split.of(data.other("held_out"))
    figures = {"training_images": float(len(train.texts)), "held_out_images": float(len(held.texts))}
    stage, made = first_stage(pipe, held)
    figures |= stage
    shown = torch.stack((held.images, made), 1)[:32].flatten(0, 1)
    grid(shown, 8).save(args.out / "reconstructions.png")
    if pipe.denoiser is not None:
        memory, pairs = training_captions(pipe, train, args)
        grid(pairs[:32].flatten(0, 1), 8).save(args.out / "training_captions.png")
        figures |= memory | held_out_captions(pipe, train, held, args)
        sheet(pipe, [*train.texts, *held.texts], args)
    figures["minutes"] = (time.monotonic() - begun) / 60
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    report(figures)


if __name__ == "__main__":
    try:
        main()
    except (LatentryError, UsageError) as error:
        sys.exit(str(error))
