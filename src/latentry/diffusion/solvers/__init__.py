"""Solvers: generators that walk a noisy latent down a list of levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from latentry.diffusion.contracts import Solver, Step
from latentry.diffusion.solvers.ddim import DDIM, ddim
from latentry.diffusion.solvers.ddpm import DDPM, ddpm
from latentry.diffusion.solvers.plms import PLMS, plms
from latentry.kinds import Kind, KindOptions


@dataclass(frozen=True)
class SolverKind(Kind):
    """One solver. `build(options)` gives a `contracts.Solver`; `solve` is the function behind it.

    order: how fast its error falls with the steps taken: halved steps, error / 2^order.
    ancestral: it draws from the process's own posterior, so that it also takes `v_posterior`, and levels not rounded.
    """

    solve: Callable[..., Iterator[Step]]
    order: int
    ancestral: bool = False


def solver_kind(
    options: type[KindOptions], solve: Callable[..., Iterator[Step]], order: int, *, ancestral: bool = False
) -> SolverKind:
    """A table entry for `solve(denoise, x, levels, *, noise, **options)`, with the fields of `options` but `kind`."""

    def build(chosen: KindOptions) -> Solver:
        return partial(solve, **chosen.model_dump(exclude={"kind"}))

    return SolverKind(options, build, solve, order, ancestral)


SOLVERS = {
    "ddim": solver_kind(DDIM, ddim, order=1),
    "ddpm": solver_kind(DDPM, ddpm, order=1, ancestral=True),
    "plms": solver_kind(PLMS, plms, order=2),
}
