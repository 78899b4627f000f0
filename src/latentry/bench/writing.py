"""One folder: the numbers for programs and for tables, and the picture in light and in dark."""

from __future__ import annotations

from pathlib import Path

from latentry.bench.plots import png
from latentry.bench.result import Findings, to_csv, to_json
from latentry.checkpoints import durable
from latentry.errors import UsageError

JSON, CSV, PLOT = "bench.json", "bench.csv", "bench-{}.png"
SHADES = {"light": False, "dark": True}


def check_target(folder: Path) -> None:
    """Raise UsageError where no folder can be."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; a benchmark is a folder. Choose another.")


def write(folder: Path, findings: Findings) -> list[Path]:
    """Write them into a folder, which is made; an earlier benchmark there is replaced. Raises LatentryError."""
    files = {JSON: to_json(findings).encode(), CSV: to_csv(findings.rows).encode()}
    if findings.rows:
        files |= {PLOT.format(shade): png(findings, dark) for shade, dark in SHADES.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise durable.explain(error, folder, 0) from error
    for name, content in files.items():
        target = folder / name
        try:
            durable.write(target, [content])
        except OSError as error:
            raise durable.explain(error, target, len(content)) from error
    return [folder / name for name in files]
