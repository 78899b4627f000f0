"""How one stage is trained: what a recipe says under `train`."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from latentry.bounds import Batch, Count, Rate, Steps, StepsOrNone, Workers
from latentry.kinds import Options

Beta = Annotated[float, Field(ge=0, lt=1)]


class StageTraining(Options):
    """How one stage is trained.

    steps: optimiser steps. batch: images per optimiser step, over all processes. accumulate: the batch is worked
    through in this many parts. lr: the rate used, or with `scale_lr` the published base rate, times the batch.
    warmup: steps of linear rise. decay: shape after it, down to lr * lr_end, which is reached at decay_steps (null: at
    `steps`) and then held. ema: decay of averaged weights, or null.
    precision: fp32, bf16 (autocast; weights stay fp32) or auto (times both). workers: loader processes.
    keep: newest checkpoints kept; milestones: also keep every so many steps.
    """

    steps: Steps = 10_000
    batch: Batch = 16
    accumulate: Batch = 1
    lr: Rate = 1e-4
    scale_lr: bool = False
    optimiser: Literal["adamw", "adam", "muon", "sgd"] = "adamw"
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    weight_decay: float = Field(0.0, ge=0, le=1000)
    warmup: StepsOrNone = 0
    decay: Literal["constant", "linear", "cosine"] = "constant"
    decay_steps: Steps | None = None
    lr_end: float = Field(0.0, ge=0, le=1)
    clip: Annotated[float, Field(gt=0, le=1e9)] | None = None
    ema: float | None = Field(None, gt=0, lt=1)
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    channels_last: bool = False
    compile: bool = False
    checkpoint_activations: bool = False
    workers: Workers = 0
    log_every: Steps = 50
    validate_every: Steps = 500
    sample_every: Steps = 1000
    save_every: Steps = 1000
    keep: Count = 2
    milestones: Steps | None = None

    @model_validator(mode="after")
    def _check(self) -> StageTraining:
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} is not a multiple of accumulate {self.accumulate}")
        if self.decay_steps is None:
            return self
        if self.decay == "constant":
            raise ValueError(f"decay_steps {self.decay_steps} with decay constant; set decay to linear or cosine")
        if self.decay_steps <= self.warmup:
            raise ValueError(f"decay_steps {self.decay_steps} is not beyond warmup {self.warmup}; raise it")
        if self.decay_steps < self.steps and not self.lr_end:
            raise ValueError(
                f"decay_steps {self.decay_steps} of steps {self.steps} with lr_end 0: the rest would learn nothing; "
                "set lr_end, to 0.1 say"
            )
        return self

    def rate(self) -> float:
        """The learning rate at full height."""
        return self.lr * self.batch if self.scale_lr else self.lr


class StageOptions(Protocol):
    """What the section of every stage in a recipe has, whatever else it says; it is a pydantic class of `Options`."""

    @property
    def train(self) -> StageTraining:
        """How it is trained."""

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
