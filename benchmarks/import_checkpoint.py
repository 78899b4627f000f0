"""Importing and opening a large checkpoint: `python benchmarks/import_checkpoint.py [--gigabytes 1.5]`.

A random checkpoint of a published size (zip format) is written to a temporary folder. Printed: `import` beside copying,
hashing and syncing the same bytes (asked: at most 1.5 times), `lt.load` of the result beside a cold read of it (at most
2), and the peak memory of importing above what the process had after its imports (at most 1.3 times the file). Each in
a process of its own. The page cache is dropped between them where one may (root on Linux); else the reads are warm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml

CONFIG = {
    "model": {
        "target": "ldm.models.diffusion.ddpm.LatentDiffusion",
        "params": {
            "image_size": 64,
            "channels": 3,
            "cond_stage_config": "__is_unconditional__",
            "unet_config": {
                "target": "openaimodel.UNetModel",
                "params": {
                    "in_channels": 3,
                    "out_channels": 3,
                    "model_channels": 224,
                    "attention_resolutions": [8, 4, 2],
                    "num_res_blocks": 2,
                    "channel_mult": [1, 2, 3, 4],
                    "num_head_channels": 32,
                },
            },
            "first_stage_config": {
                "target": "ldm.models.autoencoder.VQModelInterface",
                "params": {
                    "embed_dim": 3,
                    "n_embed": 8192,
                    "ddconfig": {
                        "double_z": False, "z_channels": 3, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
                        "ch_mult": [1, 2, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
                    },
                },
            },
        },
    }
}  # fmt: skip


def make(folder: Path, gigabytes: float) -> None:
    """The checkpoint, with as much of something else in it as the size asks for."""
    from latentry.checkpoints.compvis.config import translate
    from latentry.checkpoints.compvis.locations import places

    found = places(translate(CONFIG, "big").config, {})
    state = {key: torch.randn(place.shape) for key, place in found.kept.items()}
    rest = int(gigabytes * 1e9 / 4) - sum(tensor.numel() for tensor in state.values())
    if rest > 0:
        state["left_over"] = torch.randn(rest)
    torch.save({"state_dict": state, "epoch": 1, "global_step": 2}, folder / "model.ckpt")
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))


def copy(folder: Path) -> dict[str, float]:
    """Copy, hash and sync the file."""
    start, digest = time.perf_counter(), hashlib.sha256()
    with (folder / "model.ckpt").open("rb") as source, (folder / "copy").open("wb") as target:
        while block := source.read(1 << 24):
            digest.update(block)
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    seconds = time.perf_counter() - start
    (folder / "copy").unlink()
    return {"seconds": seconds}


def bring(folder: Path) -> dict[str, float]:
    """`latentry import`, and how far memory rose."""
    from latentry import cli
    from latentry.checkpoints import model_folder  # noqa: F401
    from latentry.pipeline import foreign  # noqa: F401

    before, start = resident("VmRSS"), time.perf_counter()
    assert cli.run(["import", str(folder / "model.ckpt"), "--out", str(folder / "model"), "--json"]) == 0
    return {"seconds": time.perf_counter() - start, "bytes": resident("VmHWM") - before}


def read(folder: Path) -> dict[str, float]:
    """Read the model's files."""
    start = time.perf_counter()
    for path in (folder / "model").iterdir():
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass
    return {"seconds": time.perf_counter() - start}


def load(folder: Path) -> dict[str, float]:
    """`lt.load`."""
    import latentry as lt

    opened, start = lt.load, time.perf_counter()
    opened(folder / "model")
    return {"seconds": time.perf_counter() - start}


def resident(key: str) -> float:
    """Bytes of memory, from /proc."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(key))) * 1024


PARTS = {"copy": copy, "import": bring, "read": read, "load": load}


def measured(part: str, folder: Path) -> dict[str, float]:
    """In a process of its own, from a cold cache where that is allowed."""
    os.sync()
    if os.access("/proc/sys/vm/drop_caches", os.W_OK):
        Path("/proc/sys/vm/drop_caches").write_text("3")
    done = subprocess.run(
        [sys.executable, __file__, "--part", part, str(folder)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print three ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("folder", type=Path, nargs="?", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(PARTS[given.part](given.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, given.gigabytes)
        size = (folder / "model.ckpt").stat().st_size
        found = {part: measured(part, folder) for part in PARTS}
    print(f"checkpoint of {size / 1e9:.2f} GB")
    for ours, theirs in (("import", "copy"), ("load", "read")):
        a, b = found[ours]["seconds"], found[theirs]["seconds"]
        print(f"{ours} / {theirs}: {a:.2f} s / {b:.2f} s = {a / b:.2f}")
    print(f"peak memory of import / file: {found['import']['bytes'] / size:.2f}")


if __name__ == "__main__":
    main()
