"""What a recipe may say about the first stage's objective."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from latentry.bounds import StepsOrNone, Weight, Width
from latentry.kinds import Options

Band = Annotated[int, Field(ge=0, lt=65_536)]


class PerceptualOptions(Options):
    """The perceptual term, LPIPS (Zhang et al. 2018). Just the name of the net will do.

    net: `squeezenet` (5 MB of weights), `vgg16` (528 MB; what the published models used) or `none`.
    weight: of the term, beside the pixel error. backbone, heads: paths of weight files, where they are not to be
    looked up or downloaded. bands: which three channels to show the net, for images that are not grey, RGB or RGBA.
    """

    net: Literal["none", "squeezenet", "vgg16"] = "squeezenet"
    weight: Weight = 1.0
    backbone: str | None = None
    heads: str | None = None
    bands: tuple[Band, Band, Band] | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"net": value} if isinstance(value, str) else value


class DiscriminatorOptions(Options):
    """The adversarial term: a patch discriminator trained against the decoder (Esser et al. 2021).

    loss: of the discriminator. start: first step at which the term counts; a recipe that does not say it has it after
    a third of the stage's steps.
    lead: the discriminator learns alone for so many steps before `start`: its term is worth nothing until it can tell
    anything. ramp: steps over which the term rises from its start to its full weight.
    weight: of the term, relative to the gradient of the likelihood if `adaptive`, else absolute. max_weight: the most
    that the term is multiplied by if `adaptive`, beside a likelihood averaged over an image's values. A discriminator
    that tells nothing has almost no gradient; scaled up to the likelihood's size, as published (`max_weight: 1e4`), it
    weaves a grid over every picture. factor: multiplies the term and the discriminator's own loss.
    channels, layers: width and depth; 3 layers see patches of 70 pixels (as published), 2 of 34.
    """

    loss: Literal["hinge", "vanilla"] = "hinge"
    start: StepsOrNone = 0
    lead: StepsOrNone = 500
    ramp: StepsOrNone = 500
    weight: Weight = 0.5
    max_weight: Annotated[float, Field(gt=0, le=1e9)] = 0.1
    factor: Weight = 1.0
    channels: Width = 64
    layers: Annotated[int, Field(gt=0, le=16)] = 2
    adaptive: bool = True

    def first_step(self) -> int:
        """The step at which the discriminator begins to learn."""
        return max(0, self.start - self.lead)


class ObjectiveOptions(Options):
    """The first stage's objective (Rombach et al. 2022, appendix G).

    loss = nll + kl_weight * KL (or codebook_weight * codebook loss) + adversarial term, with
    nll = (pixel error + perceptual) / exp(log_variance) + log_variance.

    kl_weight: weight of the posterior's KL divergence, in nats an image, against the nll summed over an image's
    values. The published models use 1e-6: just enough to keep latents centred. 1 is a variational autoencoder's.
    reduction: `sum` over an image's values (published for kl) or their `mean` (published for vq); null takes the
    published one. It scales nll and regulariser alike, so the weights mean the same.
    log_variance_init, learn_log_variance: one number for all values; published: 0 and never trained.
    """

    pixel: Literal["l1", "l2"] = "l1"
    perceptual: PerceptualOptions = PerceptualOptions()
    kl_weight: Weight = 1e-6
    codebook_weight: Weight = 1.0
    discriminator: DiscriminatorOptions | None = None
    log_variance_init: float = Field(0.0, ge=-20, le=20)
    learn_log_variance: bool = False
    reduction: Literal["sum", "mean"] | None = None
