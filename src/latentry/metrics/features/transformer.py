"""Features of DINOv2 and CLIP, through transformers (the extra `hub`), which is imported only here."""

from __future__ import annotations

import hashlib
import os
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentry.errors import LatentryError, UsageError
from latentry.metrics.features.source import rgb, unit

SIDE, BATCH = 224, 32


class Published(NamedTuple):
    """A published network. model: its class in transformers. repository: on the Hugging Face hub."""

    model: str
    repository: str
    output: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


NETWORKS = {
    "dinov2": Published(
        "Dinov2Model", "facebook/dinov2-base", "pooler_output", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ),
    "clip": Published(
        "CLIPVisionModelWithProjection",
        "openai/clip-vit-base-patch32",
        "image_embeds",
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
}


class TransformerFeatures(nn.Module):
    """DINOv2's class token, or CLIP's image embedding, of images brought to 224x224.

    kind: `dinov2` or `clip`. path: a folder or a repository of the hub; None is the usual one of the kind.
    """

    def __init__(self, kind: str, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.kind, self.published = kind, NETWORKS[kind]
        self.preprocessing = f"bicubic to {SIDE}x{SIDE} with antialiasing, no crop, {kind}'s mean and deviation"
        self.net = _load(kind, str(path or self.published.repository))
        self.digest = digest_of(self.net)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, D) of images (B, 1 or 3, H, W) in [0, 1], or uint8."""
        return torch.cat([self._features(part) for part in images.split(BATCH)])

    def _features(self, images: Tensor) -> Tensor:
        x = unit(rgb(images, self.kind))
        if x.shape[-2:] != (SIDE, SIDE):
            x = functional.interpolate(x, size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
        mean, deviation = (x.new_tensor(v).view(1, 3, 1, 1) for v in self.published[-2:])
        return getattr(self.net(pixel_values=(x - mean) / deviation), self.published.output).float()


def digest_of(module: nn.Module) -> str:
    """SHA-256 over the names and numbers of a network's weights, as float32."""
    digest = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _load(kind: str, path: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            f"features {kind}: transformers is not installed. Install `latentry[hub]`, or measure in other features."
        ) from error
    try:
        return getattr(transformers, NETWORKS[kind].model).from_pretrained(path)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LatentryError(
            f"features {kind}: {path} cannot be opened ({first}). Give a folder with its config.json and "
            "model.safetensors. Without it no metric in these features is measured; other features go on."
        ) from error
