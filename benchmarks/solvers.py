"""Quality against network evaluations, for every solver: how far its samples are from those of 200 steps of DDIM.

    LATENTRY_WEIGHTS=weights python benchmarks/solvers.py models/emoji --count 500
    python benchmarks/solvers.py models/shapes --count 500 --device cuda --out figures
    python benchmarks/solvers.py models/emoji --count 16 --solvers ddim unipc:order=3 --levels trailing ays

Writes solvers-NAME.json and solvers-NAME.svg. The same command goes on where it stopped: rows that the file has are not
measured again. Of each row:

- kid: unbiased kernel distance in features of SqueezeNet to 200 steps of DDIM from *other* seeds, with an interval of
  95%. The row `reference` is the same of 200 steps of DDIM themselves: what a solver without error reaches.
- error: root mean square distance of the latents to those of 200 steps of DDIM from the *same* noise, in units of the
  latents' deviation. It says nothing of solvers that add noise.
- seconds: an image, in batches of --batch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry.diffusion.solvers import SOLVERS
from latentry.errors import LatentryError, UsageError
from latentry.metrics.distances.interval import around, deviations
from latentry.metrics.features import SqueezeNetFeatures
from latentry.models.config import SampleOptions
from latentry.pipeline import Pipeline, load
from latentry.pipeline.images import to_unit
from latentry.pipeline.sampling import chosen_levels
from latentry.tasks.sampling import solver_of

EVALUATIONS = (4, 5, 6, 8, 10, 15, 20, 30, 50)
STEPS = 200
FIGURE = (11.0, 4.5)
MOST_ERROR = 2.0
"""That is shown: two latents that have nothing in common are the root of 2 apart."""
PROMPTS = {
    "emoji": (
        "grinning face", "red heart", "dog face", "pizza", "house", "rocket", "woman firefighter", "clown face",
        "sun", "green apple", "bicycle", "trophy", "thumbs up", "crying face", "tulip", "blue square", "whale",
        "person running", "cat face with tears of joy", "mountain", "guitar", "umbrella", "man cook", "fish",
    ),
    "shapes": tuple(
        f"a {colour} {shape}"
        for shape, colour in product(
            ("circle", "cross", "ring", "square", "star", "triangle"), ("red", "green", "blue", "yellow")
        )
    ),
}  # fmt: skip
"""By the model's name; other models with text need --prompts."""


def prompts_of(args: argparse.Namespace, pipe: Pipeline) -> list[str] | None:
    """One for each of count images, in turn; None for a model without text. Raises UsageError where there are none."""
    assert pipe.denoiser is not None
    if "text" not in pipe.denoiser.conditioners:
        return None
    given = args.prompts.read_text().splitlines() if args.prompts else PROMPTS.get(pipe.config.name.split("-")[0])
    if not given:
        raise UsageError(f"--prompts: is missing, and {pipe.config.name} has text. Give a file with one on each line.")
    return [given[i % len(given)] for i in range(args.count)]


def latents(pipe: Pipeline, texts: list[str] | None, seed: int, batch: int, count: int, **how: Any) -> Tensor:
    """count latents of seeds from `seed` on."""
    drawn = []
    for first in range(0, count, batch):
        size = min(batch, count - first)
        asked: dict[str, Any] = {"n": size} if texts is None else {"text": texts[first : first + size]}
        *_, last = pipe.steps(seed=seed + first, **asked, **how)
        drawn.append(last.x.cpu())
    return torch.cat(drawn)


def features(pipe: Pipeline, z: Tensor, network: SqueezeNetFeatures, batch: int) -> Tensor:
    """Vectors of the images of latents; what is transparent is over white."""
    parts = []
    for part in z.split(batch):
        images = to_unit(pipe.decode(part.to(pipe.device)))
        if pipe.config.data.alpha:
            images = images[:, :-1] * images[:, -1:] + 1 - images[:, -1:]
        parts.append(network.to(images.device)(images).cpu())
    return torch.cat(parts)


def kid(reference: Tensor, generated: Tensor) -> dict[str, Any]:
    """The distance of two sets (N, D) of the same prompts in the same order, and its interval.

    Equation 4 of Gretton et al. 2012: no pair of one place counts, neither within a set nor across, so that all pairs
    have the same prompts; across alone they would make any two sets nearer than two of one distribution are.
    """

    def apart(x: Tensor, y: Tensor) -> float:
        kernel = (x @ y.T / x.shape[1] + 1) ** 3
        return float(kernel.sum() - kernel.trace()) / (len(x) * (len(x) - 1))

    def compute(both: Tensor, _: Tensor) -> dict[str, float]:
        x, y = both.double().chunk(2, dim=1)
        return {"kid": apart(x, x) + apart(y, y) - 2 * apart(x, y)}

    both = torch.cat([reference, generated], dim=1)
    value, spread = compute(both, both)["kid"], deviations(compute, both, both)["kid"]
    return {"kid": value, "interval": around(value, spread, -float("inf"), float("inf"))}


def rows(args: argparse.Namespace, pipe: Pipeline, known: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The figures of what is asked for and not known, one after another; first those of 200 steps of DDIM."""
    network, texts = SqueezeNetFeatures(), prompts_of(args, pipe)
    draw = partial(latents, pipe, texts, batch=args.batch, count=args.count)
    exact: dict[str, Any] = {"solver": "ddim", "levels": "trailing", "steps": args.steps}
    vectors = features(pipe, draw(args.seed + args.count, **exact), network, args.batch)
    truth = draw(args.seed, **exact)
    if not any(row["solver"] == "reference" for row in known):
        own = kid(vectors, features(pipe, truth, network, args.batch))
        yield {"solver": "reference", "levels": "trailing", "evaluations": args.steps, **own}
    done = {(row["solver"], row["levels"], row["evaluations"]) for row in known}
    for solver, levels, evaluations in product(args.solvers, args.levels, args.evaluations):
        how: dict[str, Any] = {"solver": solver_of(solver), "levels": levels, "steps": evaluations}
        calls = called(pipe, how)
        if (solver, levels, calls) in done:
            continue
        done.add((solver, levels, calls))
        begun = time.perf_counter()
        z = draw(args.seed, **how)
        seconds = (time.perf_counter() - begun) / args.count
        error = float((z - truth).square().mean().sqrt() / truth.std())
        figures = {**kid(vectors, features(pipe, z, network, args.batch)), "error": error, "seconds": seconds}
        yield {"solver": solver, "levels": levels, "evaluations": calls, **figures}


def called(pipe: Pipeline, how: dict[str, Any]) -> int:
    """How many network evaluations that is, which may be one less or, for plms, one more than is asked for."""
    assert pipe.denoiser is not None
    chosen = SampleOptions.model_validate({**pipe.config.sample.model_dump(), **how})
    return sum(SOLVERS[chosen.solver.kind].calls(chosen_levels(pipe.denoiser.schedule, chosen)))


def plot(found: list[dict[str, Any]], title: str, path: Path) -> None:
    """Both distances against evaluations; a band for what 200 steps of DDIM are from themselves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=FIGURE, layout="constrained")
    reference = next(row for row in found if row["solver"] == "reference")
    names = list(dict.fromkeys((r["solver"], r["levels"]) for r in found if r is not reference))
    both = len({levels for _, levels in names}) > 1
    for axes, key in zip(figure.subplots(1, 2), ("kid", "error"), strict=True):
        for number, name in enumerate(names):
            if key == "error" and adds_noise(name[0]):
                continue
            points = sorted((r["evaluations"], r[key]) for r in found if (r["solver"], r["levels"]) == name)
            label = f"{name[0]}, {name[1]}" if both else name[0]
            axes.plot(
                *zip(*points, strict=True), marker="osv^D"[number // 10 % 5], ms=4, color=f"C{number % 10}", label=label
            )
        axes.set(xscale="log", xlabel="network evaluations")
        measured = [r["evaluations"] for r in found if r is not reference]
        ticks = [tick for tick in EVALUATIONS if min(measured) <= tick <= max(measured)]
        axes.set_xticks(ticks, [str(tick) for tick in ticks], fontsize=7)
        axes.minorticks_off()
    left, right = figure.axes
    low, high = reference["interval"]
    left.axhspan(low, high, color="0.85", label=f"ddim, {reference['evaluations']} steps")
    left.set(ylabel="KID in features of SqueezeNet")
    left.set_yscale("symlog", linthresh=max(high, 1e-6))
    right.set(ylabel="error of the latents", yscale="log", title=title)
    right.set_ylim(top=min(right.get_ylim()[1], MOST_ERROR))
    left.legend(fontsize=7)
    figure.savefig(path)


def adds_noise(solver: str) -> bool:
    """Whether latents of a solver, as it is named on the command line, do not follow from their start alone."""
    named = solver_of(solver)
    options = {"kind": named} if isinstance(named, str) else named
    return SOLVERS[options["kind"]].ancestral or bool(options.get("eta") or options.get("churn"))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--count", type=int, default=200, help="samples of each row")
    parser.add_argument(
        "--solvers",
        nargs="+",
        default=[name for name, kind in SOLVERS.items() if kind.order],
        help="also with options, as in dpmpp_2m:eta=1",
    )
    parser.add_argument("--levels", nargs="+", default=["exponential"])
    parser.add_argument("--evaluations", nargs="+", type=int, default=list(EVALUATIONS))
    parser.add_argument("--steps", type=int, default=STEPS, help="of DDIM that all are compared with")
    parser.add_argument("--prompts", type=Path, help="a text on each line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("figures"))
    return parser.parse_args()


def main() -> int:
    args = parsed()
    pipe = load(args.model, device=args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / f"solvers-{pipe.config.name}"
    asked = {"model": pipe.model_hash, **{name: getattr(args, name) for name in ("count", "steps", "seed")}}
    kept = json.loads(stem.with_suffix(".json").read_text()) if stem.with_suffix(".json").is_file() else {}
    found: list[dict[str, Any]] = kept["rows"] if all(kept.get(k) == v for k, v in asked.items()) else []
    for row in rows(args, pipe, list(found)):
        found.append(row)
        told = f"{row['solver']:14} {row['levels']:12} {row['evaluations']:4}  KID {row['kid']:.4g}"
        print(told + "".join(f"  {key} {row[key]:.4f}" for key in ("error", "seconds") if key in row), flush=True)
        machine = {"device": str(pipe.device), "threads": torch.get_num_threads(), "cores": os.cpu_count()}
        stem.with_suffix(".json").write_text(json.dumps({**asked, **machine, "rows": found}, indent=1))
    plot(found, f"{pipe.config.name}, {args.count} samples", stem.with_suffix(".svg"))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LatentryError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
