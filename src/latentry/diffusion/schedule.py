"""Noise schedules: how much of the clean latent and how much noise there is at each of T times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, TypeAdapter, model_validator
from torch import Tensor

from latentry.bounds import Times
from latentry.errors import UsageError
from latentry.kinds import Kind, KindOptions, build, choice


class Level(NamedTuple):
    """One noise level, x = alpha x0 + sigma eps, as plain numbers; `t` is exactly what the time embedding is fed."""

    t: float
    alpha: float
    sigma: float


CLEAN = Level(-1.0, 1.0, 0.0)


class Schedule:
    """A variance-preserving table: alpha_t = sqrt(abar_t), sigma_t = sqrt(1 - abar_t).

    abar: (T,) strictly decreasing, in [0, 1). Held in float64; a float32 table of a checkpoint is upcast as it is.
    betas: (T,), where they are known more exactly than from a rounded abar.
    v_posterior: share of beta_t in the variance of an ancestral step, whose rest is the posterior's.
    Raises `UsageError` for any other table. Source: Rombach et al. 2022, appendix B.
    """

    def __init__(self, abar: Tensor, betas: Tensor | None = None, v_posterior: float = 0.0) -> None:
        self.abar = abar.detach().to("cpu", torch.float64)
        self._betas = None if betas is None else betas.detach().to("cpu", torch.float64)
        self.v_posterior = v_posterior
        in_range = self.abar.ndim == 1 and len(abar) > 1 and bool(((self.abar >= 0) & (self.abar < 1)).all())
        if not in_range or not bool((self.abar.diff() < 0).all()):
            raise UsageError(
                f"schedule: a table of shape {tuple(abar.shape)} that is not a noise schedule; accepted are two or "
                "more values of abar in [0, 1), strictly decreasing. Check the betas it was made from."
            )
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @property
    def steps(self) -> int:
        """T, the number of noise levels."""
        return len(self.abar)

    @property
    def abar_before(self) -> Tensor:
        """abar_{t-1}, float64 (T,), with abar_{-1} = 1."""
        return torch.cat([self.abar.new_ones(1), self.abar[:-1]])

    @property
    def betas(self) -> Tensor:
        """beta_t = 1 - abar_t / abar_{t-1}, float64 (T,)."""
        return 1 - self.abar / self.abar_before if self._betas is None else self._betas

    @property
    def exact(self) -> Schedule:
        """The same without the rounding of abar: published code has its ancestral steps from betas in float64."""
        return self if self._betas is None else from_betas(self._betas, v_posterior=self.v_posterior)

    @property
    def snr(self) -> Tensor:
        """Signal-to-noise ratio alpha_t^2 / sigma_t^2, float64 (T,)."""
        return self.abar / (1 - self.abar)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Per-sample alpha and sigma, float32 (B,) on t's device, for training. t: int64 (B,) in 0..T-1."""
        if t.device not in self._tables:
            both = self.abar.sqrt(), (1 - self.abar).sqrt()
            self._tables[t.device] = (both[0].to(t.device, torch.float32), both[1].to(t.device, torch.float32))
        alpha, sigma = self._tables[t.device]
        return alpha[t], sigma[t]

    def level(self, t: int) -> Level:
        """The level at time t in 0..T-1, float64 numbers, for sampling."""
        abar = float(self.abar[t])
        return Level(float(t), math.sqrt(abar), math.sqrt(1 - abar))


class _Named(KindOptions):
    rounded: bool = Field(False, description="abar in float32, as published checkpoints hold it")
    v_posterior: float = Field(0.0, ge=0, le=1, description="share of beta in an ancestral step's variance")


class _Rising(_Named):
    start: float = Field(gt=0, lt=1)
    end: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _check(self) -> _Rising:
        if self.start > self.end:
            raise ValueError(f"start {self.start:g} is above end {self.end:g}; noise has to rise")
        return self


class ScaledLinear(_Rising):
    """betas whose square roots are evenly spaced: what the published latent diffusion code calls `linear`."""

    kind: Literal["scaled_linear"] = "scaled_linear"
    start: float = Field(0.0015, gt=0, lt=1, description="first beta")
    end: float = Field(0.0195, gt=0, lt=1, description="last beta")
    steps: Times = Field(1000, description="number of noise levels T")


class Linear(_Rising):
    """betas evenly spaced (Ho et al. 2020)."""

    kind: Literal["linear"] = "linear"
    start: float = Field(1e-4, gt=0, lt=1, description="first beta")
    end: float = Field(2e-2, gt=0, lt=1, description="last beta")
    steps: Times = Field(1000, description="number of noise levels T")


class Sqrt(_Rising):
    """betas that are square roots of evenly spaced values."""

    kind: Literal["sqrt"] = "sqrt"
    start: float = Field(1e-4, gt=0, lt=1, description="square of the first beta")
    end: float = Field(2e-2, gt=0, lt=1, description="square of the last beta")
    steps: Times = Field(1000, description="number of noise levels T")


class Cosine(_Named):
    """abar a squared cosine of time (Nichol and Dhariwal 2021, eq. 17), betas at most 0.999."""

    kind: Literal["cosine"] = "cosine"
    s: float = Field(0.008, ge=0, le=1000, description="offset that keeps the first betas from vanishing")
    steps: Times = Field(1000, description="number of noise levels T")


class Table(KindOptions):
    """abar itself, as a checkpoint has it, where no formula gives it."""

    kind: Literal["table"] = "table"
    abar: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        min_length=2, max_length=100_000, description="abar of every time, falling"
    )
    betas: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(
        None, max_length=100_000, description="as many, where they say more than a rounded abar"
    )
    v_posterior: float = Field(0.0, ge=0, le=1, description="share of beta in an ancestral step's variance")

    @model_validator(mode="after")
    def _check(self) -> Table:
        if self.betas is not None and len(self.betas) != len(self.abar):
            raise ValueError(f"betas: {len(self.betas)} numbers beside {len(self.abar)} of abar; give as many")
        return self


def from_betas(betas: Tensor, rounded: bool = False, v_posterior: float = 0.0) -> Schedule:
    """The schedule of `betas` (T,), multiplied up in float64. rounded: then to float32."""
    abar = (1 - betas.double()).cumprod(0)
    return Schedule(abar.float(), betas, v_posterior) if rounded else Schedule(abar, v_posterior=v_posterior)


def _of(options: _Named, betas: Tensor) -> Schedule:
    return from_betas(betas, options.rounded, options.v_posterior)


def _spaced(start: float, end: float, steps: int) -> Tensor:
    return torch.linspace(start, end, steps, dtype=torch.float64)


def _scaled_linear(options: ScaledLinear) -> Schedule:
    return _of(options, _spaced(options.start**0.5, options.end**0.5, options.steps) ** 2)


def _linear(options: Linear) -> Schedule:
    return _of(options, _spaced(options.start, options.end, options.steps))


def _sqrt(options: Sqrt) -> Schedule:
    return _of(options, _spaced(options.start, options.end, options.steps).sqrt())


def _cosine(options: Cosine) -> Schedule:
    time = torch.arange(options.steps + 1, dtype=torch.float64) / options.steps
    signal = torch.cos((time + options.s) / (1 + options.s) * math.pi / 2) ** 2
    return _of(options, (1 - signal[1:] / signal[:-1]).clamp(0, 0.999))


def _table(options: Table) -> Schedule:
    betas = None if options.betas is None else torch.tensor(options.betas, dtype=torch.float64)
    return Schedule(torch.tensor(options.abar, dtype=torch.float64), betas, options.v_posterior)


SCHEDULES = {
    "scaled_linear": Kind(ScaledLinear, _scaled_linear),
    "linear": Kind(Linear, _linear),
    "cosine": Kind(Cosine, _cosine),
    "sqrt": Kind(Sqrt, _sqrt),
    "table": Kind(Table, _table),
}


def build_schedule(options: KindOptions | Mapping[str, Any] | str) -> Schedule:
    """A schedule from its options, or from what a recipe may say: a name, or {kind: NAME, ...}."""
    return build(SCHEDULES, TypeAdapter(choice(SCHEDULES, "schedules")).validate_python(options))
