"""What a model is made of: the options written to `model.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from latentry.conditioning import CONDITIONERS
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.schedule import SCHEDULES
from latentry.diffusion.solvers import SOLVERS
from latentry.errors import did_you_mean
from latentry.kinds import Options, choice

HEAD_CHANNELS = 32
TEXTS = ("text", "clip_text")


def check_groups(channels: int, multipliers: tuple[int, ...], groups: int) -> None:
    """Every width must be divisible by the number of normalisation groups."""
    bad = [channels * m for m in (1, *multipliers) if channels * m % groups]
    if bad:
        divisors = [g for g in range(1, channels + 1) if not any(channels * m % g for m in (1, *multipliers))]
        fits = ", ".join(map(str, divisors[-6:]))
        raise ValueError(f"norm_groups {groups} does not divide the width {bad[0]}; these fit: {fits}")


def check_attention(factors: tuple[int, ...], levels: int | None) -> None:
    """Attention is placed by downsampling factors: powers of two that exist."""
    for f in factors:
        if f & (f - 1):
            raise ValueError(f"attention at factor {f}: factors are powers of two (1, 2, 4, ...)")
        if levels is not None and f >= 2**levels:
            raise ValueError(f"attention at factor {f}: the {levels} levels have factors up to {2 ** (levels - 1)}")


class AutoencoderOptions(Options):
    """Architecture of the first stage (Rombach et al. 2022, section 3.1 and appendix G).

    kind: `kl` (Gaussian posterior), `vq` (codebook of `codes` vectors), or `identity`: none, f = 1, the latent is the
    image itself; then the other keys say nothing, save z_channels, which must be the image's channels.
    z_channels: channels at the encoder's end; `latent_channels` of the latent itself (default: the same).
    channels, multipliers: width per level; the downsampling factor is 2^(levels - 1).
    attention: downsampling factors that get self-attention; middle_attention: one more at the bottleneck.
    """

    kind: Literal["kl", "vq", "identity"] = "kl"
    z_channels: PositiveInt = 4
    latent_channels: PositiveInt | None = None
    codes: PositiveInt = 8192
    channels: PositiveInt = 128
    multipliers: tuple[PositiveInt, ...] = Field((1, 2, 4), min_length=1)
    blocks: PositiveInt = 2
    attention: tuple[PositiveInt, ...] = ()
    middle_attention: bool = True
    norm_groups: PositiveInt = 32
    dropout: float = Field(0.0, ge=0, lt=1)

    @property
    def factor(self) -> int:
        """Downsampling per side."""
        return 1 if self.kind == "identity" else int(2 ** (len(self.multipliers) - 1))

    @model_validator(mode="after")
    def _check(self) -> AutoencoderOptions:
        if self.kind == "identity":
            return self
        check_groups(self.channels, self.multipliers, self.norm_groups)
        check_attention(self.attention, len(self.multipliers))
        return self


class UNetOptions(Options):
    """Architecture of the denoiser (Rombach et al. 2022, section 3.2 and appendix E).

    attention: downsampling factors of the latent (1 = full latent size) that get attention.
    heads | head_channels: give one; a number of heads, or the width of each (default: 32 wide).
    transformer_depth: 0 = plain attention blocks; >= 1 = spatial transformers with cross-attention; one number, or one
    a level.
    context_channels: width of the cross-attention context; null = as wide as the first context.
    norm_epsilon, pad_end, sine_first, frequency_shift: for imported models, as those of Ho et al. 2020 have them.
    """

    channels: PositiveInt = 128
    multipliers: tuple[PositiveInt, ...] = Field((1, 2, 4), min_length=1)
    blocks: PositiveInt = 2
    attention: tuple[PositiveInt, ...] = (2, 4)
    heads: PositiveInt | None = None
    head_channels: PositiveInt | None = None
    transformer_depth: NonNegativeInt | tuple[NonNegativeInt, ...] = 1
    context_channels: PositiveInt | None = None
    scale_shift: bool = False
    resblock_updown: bool = False
    norm_groups: PositiveInt = 32
    dropout: float = Field(0.0, ge=0, lt=1)
    split_heads_first: bool = True
    norm_epsilon: float = Field(1e-5, gt=0, lt=1)
    pad_end: bool = False
    sine_first: bool = False
    frequency_shift: Literal[0, 1] = 0

    @property
    def factor(self) -> int:
        """Downsampling of the latent inside the network, per side."""
        return int(2 ** (len(self.multipliers) - 1))

    @model_validator(mode="before")
    @classmethod
    def _default_heads(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("heads") is None and values.get("head_channels") is None:
            return {**values, "head_channels": HEAD_CHANNELS}
        return values

    @model_validator(mode="after")
    def _check(self) -> UNetOptions:
        check_groups(self.channels, self.multipliers, self.norm_groups)
        check_attention(self.attention, None)
        if self.heads is not None and self.head_channels is not None:
            raise ValueError(f"heads {self.heads} and head_channels {self.head_channels}: give one of them")
        return self


class SampleOptions(Options):
    """The defaults of a request: how images are drawn.

    clip: hold every predicted x0 inside [-1, 1], for models of pixels.
    """

    solver: choice(SOLVERS, "solver") = Field(default="ddim", validate_default=True)  # type: ignore[valid-type]
    levels: str = "trailing"
    steps: PositiveInt = 50
    guidance: float = 1.0
    clip: bool = False

    @field_validator("levels")
    @classmethod
    def _known_levels(cls, levels: str) -> str:
        if levels not in LEVELS:
            raise ValueError(f'no levels "{levels}"; known: {", ".join(LEVELS)}{did_you_mean(levels, LEVELS)}')
        return levels


class DataFacts(Options):
    """What the model knows of the images it was trained on: size (H, W), channels, bits a channel, class names."""

    size: tuple[int, int]
    channels: int
    depth: Literal[8, 16] = 8
    background: str | None = None
    labels: tuple[str, ...] = ()


class DiffusionOptions(Options):
    """The second stage: process, network and conditions."""

    schedule: choice(SCHEDULES, "schedule") = Field(default="scaled_linear", validate_default=True)  # type: ignore[valid-type]
    prediction: Literal["epsilon", "sample", "velocity"] = "epsilon"
    unet: UNetOptions = UNetOptions()
    conditioning: dict[str, choice(CONDITIONERS, "conditioner")] = {}  # type: ignore[valid-type]

    @field_validator("conditioning")
    @classmethod
    def _known_guess(cls, conditioning: Any) -> Any:
        conditions = conditioning if isinstance(conditioning, Mapping) else {}
        texts = [name for name, options in conditions.items() if options.kind in TEXTS]
        for name, options in conditions.items():
            if getattr(options, "guess", None) not in (None, *texts):
                accepted = ", ".join(texts) or "none"
                raise ValueError(f'{name}.guess: no condition "{options.guess}" of kind text; known: {accepted}')
        return conditioning


class ModelConfig(Options):
    """The whole of `model.yaml`; `diffusion` is absent while only the first stage is trained."""

    format: Literal[1] = 1
    name: str
    version: str
    data: DataFacts
    autoencoder: AutoencoderOptions
    diffusion: DiffusionOptions | None = None
    sample: SampleOptions = SampleOptions()
    trained: dict[str, Any] = {}


def check_size(size: tuple[int, int], autoencoder: AutoencoderOptions, unet: UNetOptions | None) -> str | None:
    """None if both sides (H, W) fit the networks, else a text that names the nearest sides that do."""
    multiple = autoencoder.factor * (unet.factor if unet else 1)
    if not any(side % multiple for side in size):
        return None
    near = [
        "x".join(str(max(multiple, f(s / multiple) * multiple)) for s in size) for f in (int, lambda v: -int(-v // 1))
    ]
    return (
        f"size {size[0]}x{size[1]} does not fit: each side must be a multiple of {multiple} "
        f"(f {autoencoder.factor} x {multiple // autoencoder.factor} in the UNet); "
        f"nearest: {' or '.join(dict.fromkeys(near))}"
    )
