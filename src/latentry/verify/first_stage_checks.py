"""The first stage's reference numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from latentry.nn.posterior import Gaussian
from latentry.nn.quantise import Quantised, perplexity
from latentry.verify.fixture import Check, NotThere, Subject


def moments(s: Subject, image: str = "in.image") -> Tensor:
    return s.autoencoder.moments(s[image])


def unscaled(s: Subject, image: str) -> Tensor:
    """Posterior mean or pre-quantised latent."""
    return s.autoencoder.unscaled(moments(s, image))


def posterior(s: Subject) -> Gaussian:
    if s.autoencoder.options.kind != "kl":
        raise NotThere("only a KL first stage has a posterior")
    return s.autoencoder.posterior(moments(s))


def latent(s: Subject) -> Tensor:
    return s.autoencoder.encode(s["in.image"], s.tensors.get("in.posterior_noise"))


def codes(s: Subject) -> Quantised:
    if s.autoencoder.quantiser is None:
        raise NotThere("only a VQ first stage has codes")
    return s.autoencoder.quantise(moments(s))


def drawn(s: Subject) -> Tensor:
    """The latent before its scale, sampled with the fixture's noise where there is a posterior."""
    return s.autoencoder.unscaled(moments(s), s.tensors.get("in.posterior_noise"))


def raw_decode(s: Subject, z: Tensor) -> Tensor:
    """Neither divided by the scale nor quantised."""
    image: Tensor = s.autoencoder.decoder.conv_out(s.autoencoder.features(z))
    return image


def rect_reconstruction(s: Subject) -> Tensor:
    z = unscaled(s, "in.image_rect")
    return s.autoencoder.decode(z * s.autoencoder.latent_scale)


def counts(s: Subject) -> Tensor:
    return codes(s).indices.flatten().bincount(minlength=s.autoencoder.options.codes)


def extreme(s: Subject, part: str) -> Tensor:
    """A Gaussian whose log-variances are far out."""
    gaussian = Gaussian(s["in.moments"])
    figures: dict[str, Callable[[], Tensor]] = {
        "mean": lambda: gaussian.mean,
        "logvar": lambda: gaussian.log_variance,
        "std": lambda: gaussian.deviation,
        "var": lambda: gaussian.variance,
        "kl": gaussian.kl,
        "nll": lambda: gaussian.negative_log_likelihood(s["in.gaussian_sample"]),
    }
    return figures[part]()


CHECKS: dict[str, Check] = {
    r"posterior_mean": lambda s: posterior(s).mean,
    r"posterior_logvar": lambda s: posterior(s).log_variance,
    r"posterior_kl": lambda s: posterior(s).kl(),
    r"z": latent,
    r"z_quantised": lambda s: codes(s).z,
    r"code_indices": lambda s: codes(s).indices.flatten(),
    r"codebook_loss": lambda s: codes(s).codebook_loss,
    r"cluster_usage": lambda s: (counts(s) > 0).sum(),
    r"perplexity": lambda s: perplexity(counts(s)),
    r"reconstruction": lambda s: s.autoencoder.decode(latent(s)),
    r"reconstruction_mode": lambda s: s.autoencoder.decode(s.autoencoder.encode(s["in.image"])),
    r"reconstruction_unquantised": lambda s: raw_decode(s, drawn(s)),
    r"rect_z": lambda s: unscaled(s, "in.image_rect"),
    r"rect_reconstruction": rect_reconstruction,
    r"decoded_z": lambda s: s.autoencoder.decode(s["in.z"]),
    r"flat_z": lambda s: unscaled(s, "in.image_flat"),
    r"small_z_decoded": lambda s: raw_decode(s, s["in.z_small"]),
    r"std_rescale_factor": lambda s: 1 / torch.std(drawn(s)),
    r"gaussian\.(mean|logvar|std|var|kl|nll)": extreme,
}
"""Pattern of a tensor's name behind `out.` -> what gives it."""
