"""Images out: encoded as the request wants them, with what made them, as base64 or files."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field
from torch import Tensor

from latentry.data.files.saving import default_suffix, quantise, save
from latentry.errors import UsageError
from latentry.kinds import Options
from latentry.pipeline.output import Output, to_pil
from latentry.serve.api.edge.errors import without

MIME = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "tiff": "image/tiff"}
DEFAULT_QUALITY = 90


class Look(Options):
    """How the images of an answer are encoded."""

    output_format: Literal["png", "jpeg", "webp"] = Field("png", description="PNG keeps every bit, and what made it.")
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of jpeg and webp, in percent.")
    background: Literal["auto", "opaque", "transparent"] = Field(
        "auto", description="Opaque: over white. Transparent: for models whose images have transparency."
    )
    metadata: bool = Field(True, description="Whether PNG files say what made them, prompts among it.")


def encode(output: Output, index: int, look: Look, private: Iterable[str] = ()) -> tuple[bytes, str]:
    """One image as a file, and its format; `tiff` for images that png cannot hold.

    private: folders that the text in the file shall not tell of. Raises UsageError for what the format cannot hold.
    """
    if look.output_format != "png" or (look.background == "opaque" and output.tensor.shape[1] in (2, 4)):
        return _by_pillow(output.images[index], look), look.output_format
    units = output.units[index] if output.units else None
    channels = output.tensor.shape[1]
    suffix = default_suffix(channels, output.alpha, units)
    text = {name: without(value, private) for name, value in output.text(index).items()} if look.metadata else None
    with tempfile.TemporaryDirectory(prefix="latentry-") as folder:
        path = Path(folder) / f"image{suffix}"
        save(path, output.tensor[index].permute(1, 2, 0).numpy(), output.depth, text, alpha=output.alpha, units=units)
        return path.read_bytes(), "png" if suffix == ".png" else "tiff"


def _by_pillow(image: Any, look: Look) -> bytes:
    if not isinstance(image, Image.Image) or image.mode not in ("L", "RGB", "RGBA"):
        raise UsageError(f"output_format: {look.output_format} holds 8-bit grey and colours only; accepted: png.")
    if image.mode == "RGBA" and (look.output_format == "jpeg" or look.background == "opaque"):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    quality = DEFAULT_QUALITY if look.output_compression is None else look.output_compression
    how = {} if look.output_format == "png" else {"quality": quality}
    buffer = io.BytesIO()
    image.save(buffer, look.output_format.upper(), **how)
    return buffer.getvalue()


def preview(images: Tensor, alpha: bool, look: Look, index: int = 0) -> bytes:
    """One of (B, C, H, W) in [0, 1], as it is on its way, as a small PNG or what was asked for."""
    array = quantise(np.nan_to_num(images[index].permute(1, 2, 0).numpy()), 8)
    pil = to_pil(array if array.shape[2] in (1, 3, 4) else array[..., :1], alpha)
    if not isinstance(pil, Image.Image):
        pil = Image.fromarray(array[..., 0])
    return _by_pillow(pil, look)


def as_text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()
