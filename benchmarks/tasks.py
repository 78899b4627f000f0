"""The figures of one task on data whose truth is known: trains its recipe, asks for what it never saw, judges.

    python benchmarks/tasks.py layout                   # minutes on two cores; semantic, sr, inpaint, text, edit, conv
    python benchmarks/tasks.py layout --seed 1 --steps 5000
    python benchmarks/tasks.py semantic --model models/shapes
    python benchmarks/tasks.py bccd --data bccd           # real images with boxes, an hour; only told
    python benchmarks/tasks.py classifier                  # also guide, autoguide: one model, trained once
    python benchmarks/tasks.py distill --model runs/a      # a run of captions; without --model one is trained
    python benchmarks/tasks.py sr-photos --data photos    # a folder of one's own; also sr-emoji, sr-blind (of scenes)

text, edit and distill train the second stage alone, on latents of the first stage of models/shapes; with
--set autoencoder.from=null they train both. The run is kept in --out by its recipe and seed: the same command goes on
where it stopped, and tasks of one recipe train once. Ends with 1 where a figure misses what is wanted. In the run lie
task-NAME.json and task-NAME.png (of some requests the truth, and below it what came).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from task_figures import MEASURES, SHOWN, Asked, Figure, folders
from task_figures.bccd import SIZE, held_out, unpacked
from task_figures.sr import BLIND

from latentry.errors import LatentryError, UsageError
from latentry.pipeline import Pipeline, load
from latentry.pipeline.output import grid
from latentry.training.distill import distill
from latentry.training.recipe.files import read
from latentry.training.run import train

RECIPES = {
    "layout": "shapes-layout",
    "semantic": "shapes-semantic",
    "sr": "shapes-sr",
    "inpaint": "shapes-inpaint",
    "text": "shapes-all",
    "edit": "shapes-text",
    "distill": "shapes-text",
    "conv": "shapes-semantic",
    "bccd": "small-layout",
    **dict.fromkeys(("classifier", "guide"), "shapes-classifier"),
    "autoguide": "shapes-autoguide",
    "sr-emoji": "small-sr",
    "sr-photos": "small-sr",
    "sr-blind": "shapes-sr",
}
FIRST_STAGE = Path(__file__).resolve().parents[1] / "models" / "shapes"
"""That of shapes-all, for the recipes that have the same."""
OF_FOLDERS = {"sr-emoji": "emoji", "sr-photos": "photos"}
"""Tasks on folders of real images, unpacked where they are shared."""
REGRESSION: tuple[str, dict[str, object]] = ("regression", {"diffusion.prediction": "regression"})
BESIDE: dict[str, tuple[str, dict[str, object]]] = {
    **dict.fromkeys(("sr", "sr-emoji", "sr-photos"), REGRESSION),
    "sr-blind": ("blind", {"diffusion.conditioning.image.degradation": BLIND}),
    "conv": ("unscaled", {"autoencoder.latent_scale": 1.0}),
}
"""task -> what a second model is called that takes its first stage from the first, and what of the recipe differs."""
QUICK = {
    "autoencoder.objective.perceptual": "none",
    "sample.steps": 2,
    **{f"autoencoder.train.{key}": value for key, value in {"steps": 2, "warmup": 0}.items()},
    **{
        f"diffusion.train.{key}": value for key, value in {"steps": 2, "warmup": 0, "batch": 4, "save_every": 1}.items()
    },
}
"""Two steps of each stage: to see that all of it runs."""
QUICK_DISTILL = {f"distill.train.{key}": value for key, value in {"steps": 2, "batch": 4, "warmup": 0}.items()}
QUICK_CLASSIFIER = {"classifier.train.steps": 2, "classifier.train.warmup": 0, "classifier.train.batch": 4}


def trained(recipe: str, out: Path, args: argparse.Namespace, **changes: object) -> Pipeline:
    """The model of a recipe, trained now if it is not yet. changes: by dotted keys, over --set."""
    overrides: dict[str, object] = {"seed": args.seed} | (QUICK if args.quick else {})
    if read(recipe)["autoencoder"] == read("shapes-all")["autoencoder"]:
        overrides["autoencoder.from"] = str(FIRST_STAGE)
    if args.name == "bccd":
        overrides["data.size"] = list(SIZE)
    elif args.name in OF_FOLDERS:
        overrides |= folders.training(args.data, args.quick)
    elif args.quick:
        overrides["images.count"] = 40
    if args.quick and "classifier" in read(recipe):
        overrides |= QUICK_CLASSIFIER
    if args.steps is not None:
        overrides["diffusion.train.steps"] = args.steps
    first, then = ([f"{key}={json.dumps(value)}" for key, value in each.items()] for each in (overrides, changes))
    train(recipe, args.data, out, [*first, *args.set, *then])
    return load(out)


def distilled(teacher: Path, out: Path, args: argparse.Namespace) -> Pipeline:
    """The model that `latentry distill` makes of a run. --set: of its own recipe, where --model names the run."""
    changes = {"seed": args.seed} | (QUICK_DISTILL if args.quick else {})
    chosen = args.set if args.model else []
    distill(teacher, args.data, out, [*(f"{key}={value}" for key, value in changes.items()), *chosen])
    return load(out)


def models(args: argparse.Namespace, out: Path) -> dict[str, Pipeline]:
    """The model that is measured and, for some tasks, the one beside it of the same first stage."""
    if args.name == "distill":
        teacher = args.model or out
        found = {"model": load(args.model) if args.model else trained(args.recipe or RECIPES["distill"], out, args)}
        return {**found, "baseline": distilled(teacher, out.with_name(f"{out.name}-distilled"), args)}
    if args.model is not None:
        return {"model": load(args.model)}
    recipe, (name, changes) = args.recipe or RECIPES[args.name], BESIDE.get(args.name, ("", {}))
    found = {"model": trained(recipe, out, args)}
    if name:
        first = {"autoencoder.from": str(out.resolve())}
        found["baseline"] = trained(recipe, out.with_name(f"{out.name}-{name}"), args, **first, **changes)
    return found


def report(figures: list[Figure]) -> bool:
    """One line a figure, with what is wanted; whether all of them reach it."""
    for figure in figures:
        wanted = "" if figure.wanted is None else f"  {figure.bound}: {'ok' if figure.ok else 'NOT'}"
        print(f"{figure.name:53} {figure.value:9.4f}{wanted}")
    return all(figure.ok for figure in figures)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(MEASURES))
    parser.add_argument("--seed", type=int, default=0, help="of the training and of what is asked for")
    parser.add_argument("--steps", type=int, help="of the second stage; default: the recipe's")
    parser.add_argument("--count", type=int, default=100, help="requests; autoguide takes ten images for each")
    parser.add_argument("--sampling", type=int, help="solver steps; default: the model's")
    parser.add_argument("--guidance", type=float, help="default: the model's")
    parser.add_argument("--autoguide", metavar="RUN@step-N", help="the worse model; default: the earliest checkpoint")
    parser.add_argument("--recipe", help="another one with the condition, such as shapes-all")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes of the recipe"
    )
    parser.add_argument("--model", type=Path, help="a trained model; nothing is trained")
    parser.add_argument("--data", type=Path, help="the images of bccd, sr-emoji, sr-photos; default: of ../shared")
    parser.add_argument("--out", type=Path, default=Path("runs/tasks"), help="folder of the runs")
    parser.add_argument("--quick", action="store_true", help="two steps of everything: does it run?")
    return parser.parse_args()


def main() -> int:
    args, begun = arguments(), time.monotonic()
    if args.quick:
        args.count, args.sampling = min(args.count, 3), 2
    recipe = "-".join(filter(None, (args.recipe or RECIPES[args.name], OF_FOLDERS.get(args.name))))
    out = args.out / f"{recipe}-seed-{args.seed}{'-quick' * args.quick}"
    if args.name == "bccd":
        args.data = args.data or unpacked(args.out)
        args.count = min(args.count, len(held_out(args.data)))
    elif args.name in OF_FOLDERS:
        args.data = args.data or folders.unpacked(OF_FOLDERS[args.name], args.out)
        args.count = min(args.count, len(folders.kept_out(args.data, folders.SIDE)))
    pipes = models(args, out)
    minutes = (time.monotonic() - begun) / 60
    asked = Asked(args.count, args.seed, args.sampling, args.guidance, args.data, args.autoguide)
    figures, shown = MEASURES[args.name](pipes["model"], asked, pipes.get("baseline"))
    figures.append(Figure("minutes of training", minutes, None))
    out.mkdir(parents=True, exist_ok=True)
    grid(shown, min(SHOWN, args.count)).save(out / f"task-{args.name}.png")
    found = json.dumps({figure.name: figure.value for figure in figures}, indent=1)
    (out / f"task-{args.name}.json").write_text(found + "\n", encoding="utf-8")
    return 0 if report(figures) or args.quick else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (LatentryError, UsageError) as error:
        sys.exit(str(error))
