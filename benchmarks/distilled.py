"""A distilled model's pictures below its teacher's, and what both take.

    latentry distill models/emoji --recipe emoji --data emoji --out runs/emoji-fast distill.train.steps=1400
    python benchmarks/distilled.py models/emoji runs/emoji-fast "red apple" "cat face" "flag of Japan" --out sheet.png

Rows: the teacher at its default, then the distilled model in 4, 2 and 1 evaluations; a column for each prompt, with the
same seed in every row.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from latentry.pipeline import load
from latentry.pipeline.output import grid

STEPS = (4, 2, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("distilled", type=Path)
    parser.add_argument("prompts", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("distilled.png"))
    args = parser.parse_args()
    teacher, distilled = load(args.teacher), load(args.distilled)
    rows = []
    for name, pipe, how in [("teacher", teacher, {}), *(("distilled", distilled, {"steps": n}) for n in STEPS)]:
        begun = time.perf_counter()
        rows.append(pipe.sample(args.prompts, seed=args.seed, **how).tensor)
        took = (time.perf_counter() - begun) / len(args.prompts)
        steps = how.get("steps", pipe.config.sample.steps)
        print(f"{name:10} {steps:3} steps  {took:7.3f} s an image")
    grid(torch.cat(rows), len(args.prompts)).save(args.out)
    print(args.out)


if __name__ == "__main__":
    main()
