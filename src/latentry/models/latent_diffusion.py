"""The second stage: a denoiser of latents with its conditioners (Rombach et al. 2022, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from latentry.conditioning import Cond, Conditioner, combine, encoded, ends
from latentry.diffusion.prediction import PREDICTIONS, check_prediction
from latentry.diffusion.schedule import SCHEDULES, Schedule
from latentry.errors import UsageError
from latentry.kinds import build
from latentry.models.config import DiffusionOptions
from latentry.nn.unet import UNet

Values = Sequence[Any] | Tensor
"""One value an image, as the conditioner takes them: labels or texts, or their numbers as a tensor."""


class LatentDiffusion(nn.Module):
    """UNet, conditioners in recipe order, schedule and prediction. Knows nothing of images."""

    def __init__(
        self, options: DiffusionOptions, latent_channels: int, conditioners: Mapping[str, Conditioner]
    ) -> None:
        super().__init__()
        self.options = options
        with torch.device("cpu"):  # its numbers are needed also where the network is built without memory
            self.schedule: Schedule = build(SCHEDULES, options.schedule)
            check_prediction(self.schedule, options.prediction)
        self.prediction = PREDICTIONS[options.prediction]
        self.conditioners = nn.ModuleDict(dict(conditioners))
        widths = [c.context_width for c in conditioners.values() if c.context_width]
        vectors = {c.vector_width for c in conditioners.values() if c.vector_width}
        if len(vectors) > 1:
            raise UsageError(
                f"diffusion.conditioning: vectors of widths {', '.join(map(str, sorted(vectors)))} are to be added; "
                "give all conditioners via vector one width."
            )
        u = options.unet
        context = (u.context_channels or widths[0]) if widths else None
        self.projections = nn.ModuleDict(
            {
                name: nn.Linear(c.context_width, context)
                for name, c in conditioners.items()
                if c.context_width and context and c.context_width != context
            }
        )
        arguments = u.model_dump(exclude={"context_channels"})
        self.unet = UNet(
            in_channels=latent_channels,
            out_channels=latent_channels,
            context_channels=context,
            vector_channels=max(vectors, default=0) or None,
            concat_channels=sum(c.concat_channels for c in conditioners.values()),
            **arguments,
        )

    def named_conditioners(self) -> dict[str, Conditioner]:
        """The conditioners by name, in recipe order."""
        return {name: self._at(name) for name in self.conditioners}

    def guessed(self, values: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
        """`values`, completed with those that conditioners guess from them where the request has none."""
        complete = dict(values)
        for name in self.conditioners:
            conditioner = self._at(name)
            others = values.get(conditioner.guesses_from or "")
            if others is not None:
                complete[name] = conditioner.guessed(values.get(name, [None] * len(others)), others)
        return complete

    def condition(self, values: Mapping[str, Values | None], batch: int, size: tuple[int, int] | None = None) -> Cond:
        """The UNet's condition. values: for each conditioner a list of `batch` values; absent or None = its null.

        size: (h, w) of the latent. With it arrays may be absent where the model has other conditions; one that stands
        alone is what the model is about, and must be given.
        """
        return self.join({name: self.encode(name, values.get(name), batch, size) for name in self.conditioners})

    def nothing(self, values: Mapping[str, Values | None], batch: int, size: tuple[int, int] | None = None) -> Cond:
        """The unconditional `Cond` of the UNet, in the shapes of `condition` of the same values."""
        asked = {name: None if of is None else ends(of) for name, of in values.items()}
        return self.join({name: self._null(name, batch, asked.get(name), size) for name in self.conditioners})

    def encode(self, name: str, values: Values | None, batch: int, size: tuple[int, int] | None = None) -> Cond:
        """The output of one conditioner for `batch` samples; None = null."""
        return self._null(name, batch, None, size) if values is None else encoded(self._at(name), values)

    def _null(self, name: str, batch: int, values: Values | None, size: tuple[int, int] | None) -> Cond:
        conditioner = self._at(name)
        if values is None and size is not None and len(self.conditioners) > 1:
            return conditioner.absent(batch, size)
        return conditioner.null(batch, values)

    def tokens_of(self, name: str, values: Mapping[str, Values | None]) -> tuple[slice, int]:
        """Which tokens of the context of `condition` are those of one conditioner, and how many there are of all."""
        first, place = 0, slice(0, 0)
        for other in self.conditioners:
            given = values.get(other)
            context = self.encode(other, None if given is None else given[:1], 1, (1, 1)).context  # of any size
            last = first + (0 if context is None else context.shape[1])
            place = slice(first, last) if other == name else place
            first = last
        return place, first

    def dropped(self, values: Mapping[str, Values], keep: Mapping[str, Tensor]) -> Cond:
        """As `condition`, with rows where keep[name] (B,) is False replaced by the null (training).

        A condition without a null is always kept: no plan drops it.
        """
        conds = {name: self._at(name).dropped(values[name], keep[name]) for name in self.conditioners}
        return self.join(conds)

    def _at(self, name: str) -> Conditioner:
        conditioner = self.conditioners[name]
        assert isinstance(conditioner, Conditioner)
        return conditioner

    def join(self, conds: Mapping[str, Cond]) -> Cond:
        """Contexts projected and concatenated on L, concats on C, vectors added, in recipe order."""
        return combine([self._projected(name, cond) for name, cond in conds.items()])

    def _projected(self, name: str, cond: Cond) -> Cond:
        return replace(cond, context=self.projections[name](cond.context)) if name in self.projections else cond

    def seen(self, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is trained on of x_t (B, c, h, w) and t (B,): zeros at the last time, where it regresses."""
        if not self.prediction.regresses:
            return x_t, t
        return torch.zeros_like(x_t), torch.full_like(t, self.schedule.steps - 1)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """The network's prediction for noisy latents x (B, c, h, w) at timesteps t (B,)."""
        out: Tensor = self.unet(
            x, t, context=cond.context, context_mask=cond.context_mask, concat=cond.concat, vector=cond.vector
        )
        return out

    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.unet.parameters()).device
