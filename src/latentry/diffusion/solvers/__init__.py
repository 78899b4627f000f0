"""Solvers: generators that walk a noisy latent down a list of levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from latentry.diffusion.contracts import Solver, Step
from latentry.diffusion.schedule import Level
from latentry.diffusion.solvers.consistency import Consistency, consistency
from latentry.diffusion.solvers.ddim import DDIM, ddim
from latentry.diffusion.solvers.ddpm import DDPM, ddpm
from latentry.diffusion.solvers.deis import DEIS, deis
from latentry.diffusion.solvers.dpmpp_2m import DPMpp2M, dpmpp_2m
from latentry.diffusion.solvers.dpmpp_2s import DPMpp2S, dpmpp_2s
from latentry.diffusion.solvers.dpmpp_3m import DPMpp3M, dpmpp_3m
from latentry.diffusion.solvers.euler import Euler, euler
from latentry.diffusion.solvers.heun import Heun, heun, twice
from latentry.diffusion.solvers.plms import PLMS, first_twice, plms
from latentry.diffusion.solvers.unipc import UniPC, unipc
from latentry.diffusion.solvers.walk import once
from latentry.kinds import Kind, KindOptions


@dataclass(frozen=True)
class SolverKind(Kind):
    """One solver. `build(options)` gives a `contracts.Solver`; `solve` is the function behind it.

    order: how fast its error falls with the steps taken: halved steps, error / 2^order. 0: it is for distilled models
    and follows no path.
    ancestral: it draws from the process's own posterior, so that it also takes `v_posterior`, and levels not rounded.
    churns: it can add noise as it goes, so that it also takes `at`, the level of a sigma/alpha.
    calls: how often it calls the denoiser in each step down these levels. per_step: in all steps but the last.
    evaluations, levels: of the network, and how they are chosen, where only the solver is named.
    """

    solve: Callable[..., Iterator[Step]]
    order: int
    ancestral: bool = False
    churns: bool = False
    calls: Callable[[Sequence[Level]], list[int]] = once
    per_step: int = 1
    evaluations: int = 20
    levels: str = "exponential"

    def steps(self, calls: int) -> int:
        """Of how many steps a walk has at most that many calls."""
        return (calls - 1) // self.per_step + 1


def solver_kind(
    options: type[KindOptions], solve: Callable[..., Iterator[Step]], order: int, **facts: Any
) -> SolverKind:
    """A table entry for `solve(denoise, x, levels, *, noise, **options)`, with the fields of `options` but `kind`.

    facts: further fields of `SolverKind`.
    """

    def build(chosen: KindOptions) -> Solver:
        return partial(solve, **chosen.model_dump(exclude={"kind"}))

    return SolverKind(options, build, solve, order, **facts)


MANY: dict[str, Any] = {"evaluations": 50, "levels": "trailing"}
DEFAULT = "dpmpp_2m"
SOLVERS = {
    "ddim": solver_kind(DDIM, ddim, order=1, **MANY),
    "ddpm": solver_kind(DDPM, ddpm, order=1, ancestral=True, **MANY),
    "plms": solver_kind(PLMS, plms, order=2, calls=first_twice, **MANY),
    "euler": solver_kind(Euler, euler, order=1, churns=True, levels="karras"),
    "heun": solver_kind(Heun, heun, order=2, churns=True, calls=twice, per_step=2, levels="karras"),
    "dpmpp_2m": solver_kind(DPMpp2M, dpmpp_2m, order=2),
    "dpmpp_2s": solver_kind(DPMpp2S, dpmpp_2s, order=2),
    "dpmpp_3m": solver_kind(DPMpp3M, dpmpp_3m, order=2),
    "deis": solver_kind(DEIS, deis, order=2),
    "unipc": solver_kind(UniPC, unipc, order=3),
    "consistency": solver_kind(Consistency, consistency, order=0, evaluations=2, levels="trailing"),
}
