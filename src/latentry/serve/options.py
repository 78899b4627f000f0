"""How much a server takes on, of one request and of all."""

from __future__ import annotations

from pydantic import Field

from latentry.bounds import MOST_IMAGES
from latentry.kinds import Options


class ServeOptions(Options):
    """The limits of a server; each is an option of `latentry serve`."""

    queue: int = Field(32, ge=1, le=100_000, description="Requests that may wait; more are told to come again later.")
    batch: int = Field(16, ge=1, le=MOST_IMAGES, description="Images worked on at once, of all requests together.")
    most_images: int = Field(16, ge=1, le=MOST_IMAGES, description="Images of one request.")
    most_steps: int = Field(1000, ge=1, le=1_000_000, description="Network evaluations of one image.")
    most_pixels: int = Field(4_194_304, ge=1, le=1 << 34, description="Pixels of one request: height x width x images.")
    most_bytes: int = Field(33_554_432, ge=1024, le=1 << 34, description="Bytes of one request's body.")
    body_seconds: float = Field(30.0, gt=0, le=86_400, description="Seconds in which a request's body must arrive.")
    keep: int = Field(2, ge=1, le=1000, description="Models in memory; the one that was not used for longest goes.")
    keep_jobs: int = Field(1000, ge=1, le=1_000_000, description="Finished jobs that are kept; older ones go.")
    grace: float = Field(30.0, ge=0, le=86_400, description="Seconds for what is in flight when the server is stopped.")
    bf16: bool = Field(False, description="The denoiser in bf16.")
