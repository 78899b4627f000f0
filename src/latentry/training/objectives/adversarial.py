"""The first stage's objective: likelihood, perceptual, regulariser, and a discriminator against the decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry.devices import autocast
from latentry.nn.patchgan import PatchDiscriminator
from latentry.nn.posterior import Gaussian
from latentry.nn.quantise import Quantised
from latentry.training.objectives.gradients import adaptive_weight, once
from latentry.training.objectives.options import ObjectiveOptions


class GeneratorTerms(NamedTuple):
    """loss is what the autoencoder minimises; the others are its parts. All scalars but `reconstruction` (B, C, H, W).

    pixel: mean absolute or squared error. perceptual: mean LPIPS. nll: as reduced. regulariser: KL in nats an image, or
    the codebook loss. adversarial: -mean D(reconstruction). weight: of it, before `factor`, which is 0 until the start.
    """

    loss: Tensor
    reconstruction: Tensor
    pixel: Tensor
    perceptual: Tensor
    nll: Tensor
    regulariser: Tensor
    adversarial: Tensor
    weight: Tensor
    factor: float


class DiscriminatorTerms(NamedTuple):
    """loss is what the discriminator minimises; real, fake: mean logits; factor: 0 until the start."""

    loss: Tensor
    real: Tensor
    fake: Tensor
    factor: float


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """Half the mean of relu(1 - real) and relu(1 + fake) (Lim and Ye 2017)."""
    return 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())


def vanilla(real: Tensor, fake: Tensor) -> Tensor:
    """Half the cross-entropy of telling real from fake (Goodfellow et al. 2014)."""
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


DISCRIMINATOR_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"hinge": hinge, "vanilla": vanilla}
PIXEL_ERRORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "l2": F.mse_loss}


class AdversarialObjective(nn.Module):
    """The losses of both sides. Holds the discriminator and the log-variance, its whole state.

    image_channels: of the images. sums: nll is summed over an image's values, not averaged. perceptual: distances (B,)
    of two batches of images; its weights are given by files, so it is no part of the state.
    """

    perceptual: nn.Module | None

    def __init__(
        self, options: ObjectiveOptions, image_channels: int, sums: bool, perceptual: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.options, self.sums = options, sums
        self.__dict__["perceptual"] = perceptual
        self.log_variance = nn.Parameter(
            torch.tensor(options.log_variance_init), requires_grad=options.learn_log_variance
        )
        d = options.discriminator
        self.discriminator = PatchDiscriminator(image_channels, d.channels, d.layers) if d else None

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        if self.perceptual is not None:
            self.perceptual._apply(fn, recurse)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def factor(self, step: int) -> float:
        """What multiplies the adversarial term at a step: 0 before its start, then rising over the steps of `ramp`."""
        d = self.options.discriminator
        if d is None or step < d.start:
            return 0.0
        return d.factor * min(1.0, (step - d.start + 1) / max(1, d.ramp))

    def learns(self, step: int) -> bool:
        """Whether the discriminator is trained at a step: from `lead` steps before its term counts."""
        d = self.options.discriminator
        return d is not None and d.factor > 0 and step >= d.first_step()

    def generator_loss(
        self,
        x: Tensor,
        features: Tensor,
        conv_out: nn.Conv2d,
        latent: Gaussian | Quantised,
        step: int,
        early: bool = False,
    ) -> GeneratorTerms:
        """What the autoencoder minimises.

        x: images (B, C, H, W) in [-1, 1]. features, conv_out: the reconstruction is conv_out(features). latent: the
        posterior, or what the quantiser gave. step: counted from 0, decides about the discriminator's start.
        early: run the discriminator before its start too, only for the figures. No gradient reaches the discriminator.
        """
        o, factor = self.options, self.factor(step)
        with autocast(x.device, "fp32"):
            reconstruction = conv_out(features.to(conv_out.weight.dtype))  # (B, C, H, W)
            pixel = PIXEL_ERRORS[o.pixel](reconstruction, x)
            perceptual = self._perceptual(x, reconstruction)
            error = pixel + o.perceptual.weight * perceptual
            nll = self._values(x) * (error / self.log_variance.exp() + self.log_variance)
            regulariser, weighted = self._regulariser(latent, x)
            loss = nll + weighted
        adversarial, weight = torch.zeros_like(pixel), torch.zeros_like(pixel)
        if self.discriminator is not None and (factor or early):
            adversarial = once(self._adversarial, reconstruction)
            weight = self._weight(nll, adversarial, conv_out.weight, self._values(x))
            loss = loss + weight * factor * adversarial
        return GeneratorTerms(
            loss=loss,
            reconstruction=reconstruction.detach(),
            pixel=pixel.detach(),
            perceptual=perceptual.detach(),
            nll=nll.detach(),
            regulariser=regulariser.detach(),
            adversarial=adversarial.detach(),
            weight=weight,
            factor=factor,
        )

    def discriminator_loss(self, x: Tensor, reconstruction: Tensor, step: int) -> DiscriminatorTerms:
        """What the discriminator minimises, of images and their reconstructions (B, C, H, W); no gradient leaves it."""
        assert self.discriminator is not None
        assert self.options.discriminator is not None
        factor = self.options.discriminator.factor if self.learns(step) else 0.0
        real, fake = self.discriminator(x.detach()), self.discriminator(reconstruction.detach())  # (B, 1, h, w)
        loss = factor * DISCRIMINATOR_LOSSES[self.options.discriminator.loss](real.float(), fake.float())
        return DiscriminatorTerms(loss, real.detach().float().mean(), fake.detach().float().mean(), factor)

    def _values(self, x: Tensor) -> int:
        return x.shape[1:].numel() if self.sums else 1

    def _perceptual(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        net = self.perceptual
        if net is None or not self.options.perceptual.weight:
            return reconstruction.new_zeros(())
        return once(lambda r: net(x, r).mean(), reconstruction)

    def _adversarial(self, reconstruction: Tensor) -> Tensor:
        assert self.discriminator is not None
        return -self.discriminator(reconstruction).float().mean()

    def _weight(self, nll: Tensor, adversarial: Tensor, last_layer: Tensor, values: int) -> Tensor:
        d = self.options.discriminator
        assert d is not None
        if not d.adaptive:
            return nll.new_tensor(d.weight)
        return (d.weight * adaptive_weight(nll, adversarial, last_layer)).clamp(max=d.max_weight * values)

    def _regulariser(self, latent: Gaussian | Quantised, x: Tensor) -> tuple[Tensor, Tensor]:
        """The term for the figures, and as it is added to the nll, in the same proportion under either reduction."""
        if isinstance(latent, Gaussian):
            kl = latent.kl().mean()
            return kl, self.options.kl_weight * kl * (self._values(x) / x.shape[1:].numel())
        loss = latent.codebook_loss
        return loss, self.options.codebook_weight * loss * self._values(x)
