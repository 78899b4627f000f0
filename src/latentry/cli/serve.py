"""`latentry serve`: models over HTTP."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import typer

from latentry.cli.output import say
from latentry.errors import UsageError, shown

PACKAGES = {
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}


def serve(
    models: list[Path] = typer.Argument(help="Model folders, runs, or folders of runs, which are also watched."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on; any but loopback needs a token."),
    port: int = typer.Option(8420, min=0, max=65535, help="Port to listen on; 0: a free one."),
    token: list[str] = typer.Option([], envvar="LATENTRY_TOKEN", help="What clients must send; may be repeated."),
    allow_host: list[str] = typer.Option([], metavar="NAME", help="A name of this server, as a proxy passes it on."),
    alias: list[str] = typer.Option([], metavar="NAME=MODEL", help="Another name of a model; may be repeated."),
    store: Path = typer.Option(Path("latentry-jobs"), help="Folder that jobs and their images are kept in."),
    device: str = typer.Option("auto", help="auto, cuda, cuda:1, mps or cpu."),
    queue: int = typer.Option(32, min=1, help="Requests that may wait."),
    batch: int = typer.Option(16, min=1, help="Images worked on at once."),
    most_images: int = typer.Option(16, min=1, help="Images of one request."),
    most_steps: int = typer.Option(1000, min=1, help="Network evaluations of one image."),
    most_pixels: int = typer.Option(4_194_304, min=1, help="Pixels of one request, of all its images."),
    most_bytes: int = typer.Option(33_554_432, min=1024, help="Bytes of one request."),
    keep: int = typer.Option(2, min=1, help="Models in memory."),
    keep_jobs: int = typer.Option(1000, min=1, help="Finished jobs that are kept."),
    grace: float = typer.Option(30.0, min=0, help="Seconds for what is in flight, when the server is stopped."),
    bf16: bool = typer.Option(False, "--bf16", help="The denoiser in bf16."),
) -> None:
    """Serve models over HTTP, to OpenAI's clients and to a browser."""
    missing = [package for name, package in PACKAGES.items() if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"serve: needs {', '.join(missing)}; install them: pip install 'latentry[serve]'")
    from latentry import config
    from latentry.serve.options import ServeOptions
    from latentry.serve.run import Setting
    from latentry.serve.run import serve as run

    names = dict(_pair(one) for one in alias)
    setting = Setting(host, port, token, allow_host, names, store, device)
    limits = {
        "queue": queue, "batch": batch, "most_images": most_images, "most_steps": most_steps, "keep": keep,
        "most_pixels": most_pixels, "most_bytes": most_bytes, "keep_jobs": keep_jobs, "grace": grace, "bf16": bf16,
    }  # fmt: skip
    run(models, setting, config.validate(ServeOptions, limits, "serve"), say)


def _pair(text: str) -> tuple[str, str]:
    name, equals, model = text.partition("=")
    if not name or not equals or not model:
        raise UsageError(f"--alias {shown(text)}: accepted: NAME=MODEL, as in gpt-image-1=emoji.")
    return name, model
