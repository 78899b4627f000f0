"""What the file of a picture says of it in words, one text for each name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentry.diffusion.guidance.interval import WHOLE
from latentry.models.config import SampleOptions
from latentry.models.modes import Mode
from latentry.pipeline.guides.autoguide import Autoguide
from latentry.pipeline.record import SOFTWARE
from latentry.tasks import Request


def picture_facts(
    request: Request,
    chosen: SampleOptions,
    evaluations: int,
    worse: Autoguide | None,
    opened: Mapping[str, Any],
    model: str,
    mode: Mode,
) -> list[dict[str, str]]:
    """For each image of a request: its conditions and seed, how it was drawn, and by which model (its hash).

    evaluations: of the network, for each image.
    """
    each: list[dict[str, str]] = [{} for _ in range(request.count)]
    for name, values in request.values.items():
        for one, value in zip(each, values, strict=True):
            if isinstance(value, str | int | float):
                one["prompt" if name == "text" else name] = str(value)
    how = _drawn_by(request, chosen, worse, opened, mode)
    for one, seed in zip(each, request.seeds, strict=False):
        one |= {"seed": str(seed), "evaluations": str(evaluations), **how}
    for one, further in zip(each, request.facts, strict=False):
        one |= further
    return [{**one, "model": model, "software": SOFTWARE} for one in each]


def _drawn_by(
    request: Request, chosen: SampleOptions, worse: Autoguide | None, opened: Mapping[str, Any], mode: Mode
) -> dict[str, str]:
    return {
        "solver": str(chosen.solver.kind),
        "steps": str(chosen.steps),
        "guidance": f"{chosen.guidance:g}",
        **_further_guidance(chosen, worse),
        "levels": chosen.levels,
        "clip": str(chosen.clip).lower(),
        "size": "{}x{}".format(*request.size),
        "mode": str(mode),
        **({} if chosen.reuse == 1 else {"reuse": str(chosen.reuse)}),
        **{name: str(opened[name]) for name in ("weights", "step") if opened.get(name) is not None},
        **{name: str(v) for name, v in chosen.solver.model_dump(exclude_none=True).items() if name != "kind"},
    }


def _further_guidance(chosen: SampleOptions, worse: Autoguide | None) -> dict[str, str]:
    """Where there is more to say of it than its scale."""
    told = {} if worse is None else {"autoguide": str(worse)}
    if chosen.guidance_interval != WHOLE:
        told["guidance interval"] = "{:g} to {:g}".format(*chosen.guidance_interval)
    if chosen.guidance_rescale:
        told["guidance rescale"] = f"{chosen.guidance_rescale:g}"
    return told
