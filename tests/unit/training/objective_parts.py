"""A first stage small enough for a test, and its objective."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from latentry.nn.coder import Decoder, Encoder
from latentry.nn.posterior import Gaussian
from latentry.nn.quantise import Quantised, VectorQuantiser
from latentry.training.objectives import AdversarialObjective, GeneratorTerms, ObjectiveOptions

SHAPE: dict[str, Any] = {"channels": 8, "multipliers": [1, 1], "blocks": 1, "norm_groups": 4}
DISCRIMINATOR = {"channels": 4, "layers": 2, "lead": 0, "ramp": 0, "max_weight": 1e4}
"""As published: the whole term from its first step on."""
# A key's bias shifts all logits of a query alike, which a softmax does not see: its gradient is rounding alone.
NO_EFFECT = "key.bias"


class Distance(nn.Module):
    """A perceptual distance without weights from files: squared difference of fixed random features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3)
        self.requires_grad_(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.features(x) - self.features(y)).square().mean(dim=(1, 2, 3))


class Parts(NamedTuple):
    kind: str
    encoder: Encoder
    decoder: Decoder
    quantiser: VectorQuantiser
    objective: AdversarialObjective

    def latent(self, x: Tensor) -> Gaussian | Quantised:
        moments = self.encoder(x)
        return Gaussian(moments) if self.kind == "kl" else self.quantiser(moments[:, :3])

    def generate(self, x: Tensor, step: int = 0, **more: Any) -> GeneratorTerms:
        """The generator's pass; a posterior is decoded from its mean."""
        latent = self.latent(x)
        z = latent.mean if isinstance(latent, Gaussian) else latent.z
        features = self.decoder.features(z)
        return self.objective.generator_loss(x, features, self.decoder.conv_out, latent, step, **more)

    def autoencoder(self) -> dict[str, nn.Parameter]:
        used = [("encoder", self.encoder), ("decoder", self.decoder)]
        used += [] if self.kind == "kl" else [("quantiser", self.quantiser)]
        return {f"{name}.{n}": p for name, m in used for n, p in m.named_parameters()}


def parts(kind: str = "kl", sums: bool | None = None, **options: Any) -> Parts:
    """All parts from one seed. options: of the objective; the pixel error alone unless they say otherwise."""
    torch.manual_seed(0)
    perceptual = options.pop("perceptual", 0.0)
    sums = kind == "kl" if sums is None else sums
    options = {"kl_weight": 0.0, "codebook_weight": 0.0} | options
    chosen = ObjectiveOptions.model_validate(options | {"perceptual": {"net": "squeezenet", "weight": perceptual}})
    encoder, decoder = Encoder(in_channels=3, out_channels=6, **SHAPE), Decoder(in_channels=3, out_channels=3, **SHAPE)
    objective = AdversarialObjective(chosen, 3, sums=sums, perceptual=Distance() if perceptual else None)
    return Parts(kind, encoder, decoder, VectorQuantiser(16, 3), objective)


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2.0 - 1.0
