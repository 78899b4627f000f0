"""A classifier of noisy latents, with the names of its classes: what guides the sampling of any denoiser.

Source: Dhariwal and Nichol 2021, section 4; Rombach et al. 2022, appendix C.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
from annotated_types import MaxLen
from pydantic import Field, model_validator
from torch import Tensor

from latentry.bounds import Blocks, Factors, Multipliers, Name, Width
from latentry.diffusion.schedule import Level
from latentry.errors import UsageError, did_you_mean, shown
from latentry.kinds import Options
from latentry.models.checks import check_attention, check_groups, check_network
from latentry.nn.classifier import NoisyClassifier
from latentry.text import number

NONE = -1
"""The number of no class: an image that is not guided."""
SHOWN = 20  # names in an error


class ClassifierNetwork(Options):
    """Architecture: the half of a UNet that goes down (Dhariwal and Nichol 2021, section 4.1).

    field: the metadata field of the classes, or `folder`; null: that of `data.label`.
    channels, multipliers: width of each level. blocks: a level. attention: downsampling factors of the latent that get
    it; the lowest level always has one. head_channels: width of a head. scale_shift: time as scale and shift.
    pool: `attention` or `mean`, over the last map.
    """

    field: Name | None = None
    channels: Width = 64
    multipliers: Multipliers = Field((1, 2, 3), min_length=1)
    blocks: Blocks = 2
    attention: Factors = (2, 4)
    head_channels: Width = 32
    scale_shift: bool = True
    norm_groups: Width = 32
    dropout: float = Field(0.0, ge=0, lt=1)
    pool: Literal["attention", "mean"] = "attention"

    @model_validator(mode="after")
    def _check(self) -> ClassifierNetwork:
        check_network(self)
        check_groups(self.channels, self.multipliers, self.norm_groups)
        check_attention(self.attention, None)
        attend = [m for level, m in enumerate(self.multipliers) if 2**level in self.attention] + [self.multipliers[-1]]
        bad = [width for m in attend if (width := self.channels * m) % self.head_channels]
        if bad:
            raise ValueError(f"head_channels {self.head_channels} does not divide the width {bad[0]}; change either")
        return self


class ClassifierOptions(ClassifierNetwork):
    """What `model.yaml` says of it. names: of the classes, by number."""

    names: Annotated[tuple[Name, ...], MaxLen(1 << 22)] = Field(min_length=2)


class LatentClassifier(NoisyClassifier):
    """log p(y | z_t) of the classes of `options.names`."""

    def __init__(self, options: ClassifierOptions, latent_channels: int) -> None:
        super().__init__(
            in_channels=latent_channels,
            classes=len(options.names),
            **options.model_dump(exclude={"field", "names"}),
        )
        self.options = options

    def number(self, value: Any) -> int:
        """Of a class by its name or number; NONE for -1 and None. Raises UsageError that names the nearest."""
        names = self.options.names
        if isinstance(value, str) and value in names:
            return names.index(value)
        found = value if isinstance(value, int) and not isinstance(value, bool) else None
        if isinstance(value, str):
            found = number(value)
        if value is None or found == NONE:
            return NONE
        if found is not None and 0 <= found < len(names):
            return found
        known = ", ".join(map(shown, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
        raise UsageError(
            f'label: the classifier knows no "{shown(value)}"; known: {known}; or a number from 0 to {len(names) - 1}'
            f"{did_you_mean(value, names)}. Choose one of these."
        )

    def log_probability(self, numbers: Tensor) -> Callable[[Tensor, Level], Tensor]:
        """(z_t (B, c, h, w), level) -> log p(class | z_t), fp32 (B,); 0 for images of NONE.

        numbers: of the classes, int64 (B,), where the weights are.
        """

        def of(x: Tensor, level: Level) -> Tensor:
            t = torch.full((len(x),), level.t, device=x.device)
            logs = self(x.float(), t).float().log_softmax(1)  # (B, classes)
            chosen = logs.gather(1, numbers.clamp(min=0)[:, None])[:, 0]  # (B,)
            return torch.where(numbers >= 0, chosen, torch.zeros_like(chosen))

        return of

    def numbers(self, values: Sequence[Any]) -> Tensor:
        """The numbers of classes, int64 (B,), where the weights are."""
        return torch.tensor([self.number(value) for value in values], device=self.out.weight.device)
