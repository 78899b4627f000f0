"""The schedule of a published file: its config's formula, wherever the rounding of the file explains what differs."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from latentry.diffusion.schedule import Schedule, build_schedule
from latentry.errors import LatentryError
from latentry.models.config import ModelConfig

SHORT = (torch.float8_e5m2, torch.float8_e4m3fn, torch.bfloat16, torch.float16)
"""Number formats in which a table is too rough to be a schedule of its own, roughest first."""
FULL = 2**-23
"""Share by which tables differ that were computed alike and rounded to float32, perhaps at another place."""


def with_schedule(config: ModelConfig, tensors: Mapping[str, Tensor]) -> ModelConfig:
    """The config, with the file's own table where rounding does not explain how it differs from the formula's.

    Half-precision files hold tables of three digits, which neighbouring times share: of these only the formula's is
    used. Raises LatentryError where such a table belongs to another formula.
    """
    name = next((n for n in ("alphas_cumprod", "betas") if n in tensors), None)
    if config.diffusion is None or name is None:
        return config
    stored, named = tensors[name], build_schedule(config.diffusion.schedule)
    exact = _formula(named, name)
    if _explained(stored, exact):
        return config
    if (kind := _held_in(stored)) in SHORT:
        raise LatentryError(_other_formula(name, stored, exact, kind))
    betas = tensors.get("betas")
    table = {"kind": "table", "abar": stored.tolist(), "v_posterior": named.v_posterior}
    if name == "betas":
        table |= {"abar": (1 - stored.double()).cumprod(0).tolist()}
    elif betas is not None and _explained(stored, (1 - betas.double()).cumprod(0)):
        table |= {"betas": betas.tolist()}
    tree = config.model_dump()
    tree["diffusion"]["schedule"] = table
    return ModelConfig.model_validate(tree)


def unrounded(scale: Tensor, said: float | None) -> float:
    """The scale that the config says, where the file's is that one rounded; else the file's."""
    close = said is not None and _explained(scale.reshape(1), torch.tensor([said], dtype=torch.float64))
    return float(said if close and said is not None else scale.float())


def _formula(schedule: Schedule, name: str) -> Tensor:
    """A table of the named schedule, float64 (T,)."""
    return schedule.abar if name == "alphas_cumprod" else schedule.betas


def _explained(stored: Tensor, exact: Tensor) -> bool:
    """Whether `stored` is `exact` in the number format that it was once rounded to."""
    if stored.shape != exact.shape:
        return False
    kind = torch.finfo(_held_in(stored))
    # Half a unit in the last place; below the smallest normal number that unit no longer shrinks.
    allowed = exact.abs() * (kind.eps / 2 + FULL) + kind.smallest_normal * kind.eps / 2
    return bool(((stored.double() - exact).abs() <= allowed).all())


def _held_in(stored: Tensor) -> torch.dtype:
    """The roughest format that holds these numbers: a half-precision file may have been widened again."""
    for kind in SHORT:
        if torch.equal(stored.to(kind).double(), stored.double()):
            return kind
    return stored.dtype if stored.dtype.is_floating_point else torch.float32


def _other_formula(name: str, stored: Tensor, exact: Tensor, kind: torch.dtype) -> str:
    word = str(kind).removeprefix("torch.")
    if stored.shape != exact.shape:
        differ = f"has {len(stored)} times, the config's schedule {len(exact)}"
    else:
        t = int((stored.double() - exact).abs().argmax())
        differ = f"is {float(stored[t]):.4g} at time {t}, where the config's schedule has {float(exact[t]):.4g}"
    return (
        f"{name} in {word} {differ}, which rounding does not explain; accepted are tables of the config's formula, or "
        "tables in float32. Give the config it was trained with, or take a copy in full precision."
    )
