"""What a model is made of: the options written to `model.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from latentry.bounds import (
    Blocks,
    Count,
    Depth,
    Factors,
    Guidance,
    Heads,
    Multipliers,
    Name,
    Reuse,
    Rows,
    Share,
    Side,
    Value,
    Width,
)
from latentry.conditioning import CONDITIONERS
from latentry.data.options import DataOptions
from latentry.data.ranges.meaning import Units
from latentry.diffusion.guidance.interval import WHOLE, Interval
from latentry.diffusion.levels import LEVELS
from latentry.diffusion.schedule import SCHEDULES
from latentry.diffusion.solvers import DEFAULT, SOLVERS
from latentry.errors import did_you_mean, shown
from latentry.kinds import Options, choice
from latentry.models.checks import check_attention, check_groups, check_network
from latentry.models.classifier import ClassifierOptions

HEAD_CHANNELS = 32
TEXTS = ("text", "clip_text")


class AutoencoderOptions(Options):
    """Architecture of the first stage (Rombach et al. 2022, section 3.1 and appendix G).

    kind: `kl` (Gaussian posterior), `vq` (codebook of `codes` vectors), or `identity`: none, f = 1, the latent is the
    image itself; then the other keys say nothing, save z_channels, which must be the image's channels.
    z_channels: channels at the encoder's end; `latent_channels` of the latent itself (default: the same).
    channels, multipliers: width per level; the downsampling factor is patch * 2^(levels - 1).
    patch: squares of this side are folded into channels before the first convolution and unfolded after the last
    (space to depth), so that no layer works at the full size; 1, as published, folds nothing.
    attention: downsampling factors that get self-attention; middle_attention: one more at the bottleneck.
    """

    kind: Literal["kl", "vq", "identity"] = "kl"
    z_channels: Width = 4
    latent_channels: Width | None = None
    codes: Rows = 8192
    channels: Width = 128
    multipliers: Multipliers = Field((1, 2, 4), min_length=1)
    blocks: Blocks = 2
    attention: Factors = ()
    middle_attention: bool = True
    norm_groups: Width = 32
    dropout: float = Field(0.0, ge=0, lt=1)
    patch: Literal[1, 2, 4, 8] = 1

    @property
    def factor(self) -> int:
        """Downsampling per side."""
        return 1 if self.kind == "identity" else int(self.patch * 2 ** (len(self.multipliers) - 1))

    @model_validator(mode="after")
    def _check(self) -> AutoencoderOptions:
        if self.kind == "identity":
            return self
        check_network(self)
        check_groups(self.channels, self.multipliers, self.norm_groups)
        check_attention(self.attention, len(self.multipliers), self.patch)
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

    channels: Width = 128
    multipliers: Multipliers = Field((1, 2, 4), min_length=1)
    blocks: Blocks = 2
    attention: Factors = (2, 4)
    heads: Heads | None = None
    head_channels: Width | None = None
    transformer_depth: Depth | Annotated[tuple[Depth, ...], Field(max_length=12)] = 1
    context_channels: Width | None = None
    scale_shift: bool = False
    resblock_updown: bool = False
    norm_groups: Width = 32
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
        check_network(self)
        check_groups(self.channels, self.multipliers, self.norm_groups)
        check_attention(self.attention, None)
        if self.heads is not None and self.head_channels is not None:
            raise ValueError(f"heads {self.heads} and head_channels {self.head_channels}: give one of them")
        return self


class SampleOptions(Options):
    """The defaults of a request: how images are drawn.

    levels, steps: how noise levels are chosen, and how many evaluations of the network there are; by default the
    solver's own.
    guidance_interval: the times at which guidance acts, as shares of the schedule: 0 is the least noise, 1 the most.
    guidance_rescale: how far it keeps the prediction's deviation what it is without guidance.
    classifier_scale: of the guidance by the classifier; null is 1 where the denoiser takes no label, else 0.
    clip: hold every predicted x0 inside [-1, 1], for models of pixels.
    reuse: so many evaluations share the deep features of the first of them: faster, and other images.
    """

    solver: choice(SOLVERS, "solver") = Field(default=DEFAULT, validate_default=True)  # type: ignore[valid-type]
    levels: str = SOLVERS[DEFAULT].levels
    steps: Count = SOLVERS[DEFAULT].evaluations
    guidance: Guidance = 1.0
    guidance_interval: Interval = WHOLE
    guidance_rescale: Share = 0.0
    classifier_scale: Guidance | None = None
    clip: bool = False
    reuse: Reuse = 1

    @model_validator(mode="before")
    @classmethod
    def _of_the_solver(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        named = values.get("solver", DEFAULT)
        kind = named.get("kind") if isinstance(named, Mapping) else getattr(named, "kind", named)
        solver = SOLVERS.get(kind if isinstance(kind, str) else "", SOLVERS[DEFAULT])
        own = {"levels": solver.levels, "steps": solver.evaluations}
        return {**own, **{name: value for name, value in values.items() if name not in own or value is not None}}

    @field_validator("levels")
    @classmethod
    def _known_levels(cls, levels: str) -> str:
        if levels not in LEVELS:
            raise ValueError(f'no levels "{shown(levels)}"; known: {", ".join(LEVELS)}{did_you_mean(levels, LEVELS)}')
        return levels


class DataFacts(Options):
    """What the model knows of the images it was trained on: size (H, W), channels, bits a channel, class names.

    range: in the files' own units, what is -1 and 1; `file`: of each image its own `percentiles`; None: the whole of
    8 or 16 bits. dtype: the type that holds those units, as numpy names it. no_data: the value where nothing
    was measured. transparent: whether the last of 2 or 4 channels is transparency or a band; None: transparency.
    """

    size: tuple[Side, Side]
    channels: Width
    depth: Literal[8, 16] = 8
    background: str | None = None
    labels: tuple[Name, ...] = Field((), max_length=1 << 22)
    range: Literal["file"] | tuple[Value, Value] | None = None
    percentiles: tuple[Value, Value] | None = None
    dtype: Literal["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32"] | None = None
    no_data: Literal["nan"] | Value | None = None
    transparent: bool | None = None

    @property
    def alpha(self) -> bool:
        """Whether the last channel is transparency."""
        return self.channels in (2, 4) and self.transparent is not False

    @property
    def units(self) -> Units | None:
        """The own units that samples are saved in; None: the whole of 8 or 16 bits."""
        return Units(*self.range, self.dtype or "float32") if isinstance(self.range, tuple) else None

    def options(self) -> DataOptions:
        """How a file becomes an image for the model."""
        mapped = self.range is not None
        return DataOptions(
            channels=self.channels,
            background=self.background,
            depth="auto" if mapped else self.depth,
            range=self.range or "auto",
            percentiles=self.percentiles or DataOptions().percentiles,
            no_data="auto" if self.no_data is None else self.no_data,
        )

    @model_validator(mode="after")
    def _rising(self) -> DataFacts:
        if isinstance(self.range, tuple) and not self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}: the first must be below the second")
        return self


class DiffusionOptions(Options):
    """The second stage: process, network and conditions."""

    schedule: choice(SCHEDULES, "schedule") = Field(default="scaled_linear", validate_default=True)  # type: ignore[valid-type]
    prediction: Literal["epsilon", "sample", "velocity", "regression"] = "epsilon"
    unet: UNetOptions = UNetOptions()
    conditioning: dict[str, choice(CONDITIONERS, "conditioner")] = Field({}, max_length=100)  # type: ignore[valid-type]

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


class Distilled(Options):
    """What a model that samples in a few steps was distilled from: the other's name and hash, where it has one, and the
    guidance that is folded in."""

    name: Name
    hash: Name = ""
    guidance: Guidance = 1.0


class ModelConfig(Options):
    """The whole of `model.yaml`; `diffusion` is absent while only the first stage is trained.

    distilled: from what, where the denoiser is a consistency function, which gives the end of the path.
    classifier: of noisy latents, where there is one, to guide sampling with.
    """

    format: Literal[1] = 1
    name: str
    version: str
    data: DataFacts
    autoencoder: AutoencoderOptions
    diffusion: DiffusionOptions | None = None
    distilled: Distilled | None = None
    classifier: ClassifierOptions | None = None
    sample: SampleOptions = SampleOptions()
    trained: dict[str, Any] = Field({}, max_length=1000)


def check_size(size: tuple[int, int], autoencoder: AutoencoderOptions, unet: UNetOptions | None) -> str | None:
    """None if both sides (H, W) fit the networks, else a text that names the nearest sides that do."""
    multiple = autoencoder.factor * (unet.factor if unet else 1)
    if not any(side % multiple for side in size):
        return None
    near = [
        "x".join(str(max(multiple, f(s / multiple) * multiple)) for s in size) for f in (int, lambda v: -int(-v // 1))
    ]
    why = f"f {autoencoder.factor}" + (f" x {unet.factor} in the UNet" if unet else "")
    return (
        f"size {size[0]}x{size[1]} does not fit: each side must be a multiple of {multiple} ({why}); "
        f"nearest: {' or '.join(dict.fromkeys(near))}"
    )
