"""In which features is measured: those at hand, or those asked for; what is missing is said, and the rest goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latentry.errors import LatentryError, UsageError, did_you_mean
from latentry.metrics.features import FEATURES, EncoderFeatures, Features, InceptionFeatures
from latentry.models.autoencoder import Autoencoder
from latentry.nn import lpips, weights

OWN = "own"
"""The features of the model's own first stage."""
AT_HAND = ("squeezenet", "inception")
"""Measured in without being asked for, where their weights lie on this machine."""
DECODING = ("decoder.", "post_quant_conv.", "quantiser.")


class Over:
    """Features of images with transparency, (B, 2 or 4, H, W) in [0, 1], laid over white before the network."""

    def __init__(self, features: Features) -> None:
        self.features, self.kind, self.digest = features, features.kind, features.digest
        self.preprocessing = f"laid over white; {features.preprocessing}"

    def __call__(self, images: Tensor) -> Tensor:
        """Those of the colours."""
        return self.features(over_white(images))


def over_white(images: Tensor) -> Tensor:
    """(B, C + 1, H, W) in [0, 1], the last transparency, to colours (B, C, H, W)."""
    return images[:, :-1] * images[:, -1:] + (1 - images[:, -1:])


def encoder_digest(autoencoder: Autoencoder) -> str:
    """SHA-256 over the weights that encode: a decoder that is trained further leaves the features what they are."""
    digest = hashlib.sha256()
    for name, values in sorted(autoencoder.state_dict().items()):
        if not name.startswith(DECODING):
            digest.update(name.encode())
            digest.update(values.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def own(autoencoder: Autoencoder, encode: Callable[[Tensor], Tensor]) -> Features:
    """Features of a first stage. encode: images (B, C, H, W) in [-1, 1] to scaled latents."""

    def on_cpu(images: Tensor) -> Tensor:
        return encode(images).cpu()

    return EncoderFeatures(on_cpu, encoder_digest(autoencoder))


def features_of(
    names: Sequence[str] | None,
    first_stage: Callable[[], Features] | None,
    channels: int,
    *,
    alpha: bool = False,
    resize: str | None = None,
    device: torch.device | None = None,
) -> tuple[list[Features], list[str]]:
    """Networks, ready on their device, and a note for each that is missing.

    names: of FEATURES, or OWN; None: the first stage, and those whose weights are on this machine. first_stage: makes
    its features; None where there is no model. channels, alpha: of the images. resize: how Inception's are resized.
    Raises UsageError for unknown names, LatentryError where nothing is left to measure in.
    """
    wanted = asked(names, first_stage is not None)
    found, errors = list[Features](), list[LatentryError]()
    for name in wanted:
        made = _opened(name, first_stage, channels, alpha, resize, device or torch.device("cpu"))
        if isinstance(made, LatentryError):
            errors.append(made)
        else:
            found.append(made)
    if not found and errors:
        raise errors[0]
    if not found:
        raise LatentryError(
            "features: none are at hand: there is no model, and no weights of squeezenet or inception on this machine. "
            "Name some, as in --features squeezenet (5 MB are downloaded once), or a MODEL whose first stage measures."
        )
    return found, [str(error) for error in errors]


def asked(names: Sequence[str] | None, has_model: bool) -> list[str]:
    """The names of the features. Raises UsageError for an unknown one, and for `own` without a model."""
    if names is None:
        return [OWN] * has_model + [name for name in AT_HAND if weights.located(name) is not None]
    listed = [name for one in names for name in one.split(",") if name]
    for name in listed:
        if name != OWN and name not in FEATURES:
            known = [OWN, *FEATURES]
            raise UsageError(f'features: no "{name}"; known: {", ".join(known)}{did_you_mean(name, known)}.')
        if name == OWN and not has_model:
            raise UsageError("features: own are those of a model's first stage. Name the MODEL too, or other features.")
    return list(dict.fromkeys(listed))


def _opened(name: str, first_stage: Callable[[], Features] | None, *how: Any) -> Features | LatentryError:
    """The features of a name, or why there are none."""
    try:
        return first_stage() if name == OWN and first_stage is not None else _network(name, *how)
    except LatentryError as error:
        return error


def _network(name: str, channels: int, alpha: bool, resize: str | None, device: torch.device) -> Features:
    if channels not in (1, 3) and not alpha:
        raise UsageError(
            f"features {name}: images of {channels} channels, it knows 1 or 3. Name a MODEL of such images, whose "
            "first stage measures them."
        )
    chosen = InceptionFeatures(None, resize) if name == "inception" and resize else FEATURES[name](None)
    assert isinstance(chosen, nn.Module)
    chosen.to(device)
    placed = Placed(chosen, device)
    return Over(placed) if alpha else placed


class Placed:
    """Features of a network on a device, of images on the CPU, back on the CPU."""

    def __init__(self, features: Features, device: torch.device) -> None:
        self.features, self.device = features, device
        self.kind, self.digest, self.preprocessing = features.kind, features.digest, features.preprocessing

    def __call__(self, images: Tensor) -> Tensor:
        """(B, D) of (B, C, H, W) in [0, 1]."""
        return self.features(images.to(self.device)).cpu()

    @property
    def scored(self) -> bool:
        """Whether there are class scores of them."""
        return isinstance(self.features, InceptionFeatures)

    def logits(self, features: Tensor) -> Tensor:
        """Class scores (N, 1008) of vectors, of Inception's features."""
        assert isinstance(self.features, InceptionFeatures)
        return self.features.logits(features.to(self.device)).cpu()


def perceptual(device: torch.device) -> tuple[Callable[[Tensor, Tensor], Tensor], str]:
    """LPIPS (B,) of images (B, 1, 3 or 4, H, W) in [0, 1], and its tag `squeezenet:4a535…`. Raises LatentryError."""
    missing = [name for name in ("squeezenet", "squeezenet heads") if weights.located(name) is None]
    if missing:
        files = " and ".join(
            f"{weights.SOURCES[one].name} (its SHA-256 begins with {weights.SOURCES[one].digest})" for one in missing
        )
        raise LatentryError(
            f"LPIPS: {files} not found in ${weights.FOLDER} or {weights.cache()}. Put it there; PSNR, SSIM and the "
            "distances go on without it."
        )
    network = lpips.load("squeezenet").to(device)
    heads = weights.located("squeezenet heads")
    assert heads is not None

    def distance(one: Tensor, other: Tensor) -> Tensor:
        sides = (lpips.to_rgb(side.to(device) * 2 - 1, background=(1.0, 1.0, 1.0)) for side in (one, other))
        return network(*sides).cpu()

    return distance, f"squeezenet:{weights.sha256(heads)[:5]}…"
