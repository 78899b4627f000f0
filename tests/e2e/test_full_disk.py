"""If these fail, a full disk while something is drawn, made or exported ends in a traceback, or in half a picture."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from latentry.checkpoints import DiskFull, durable
from latentry.cli import run as command
from tests.e2e.small_runs import noise, recipe, run_tiny, write_images

FULL = 74
EXPORTED = {
    "autoencoder.channels": 32,
    "autoencoder.norm_groups": 32,
    "autoencoder.middle_attention": True,
    "diffusion.unet.channels": 32,
    "diffusion.unet.norm_groups": 32,
    "diffusion.unet.transformer_depth": 0,
}
"""What other programs know."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, and its images."""
    folder = tmp_path_factory.mktemp("made")
    run_tiny(folder, write_images(folder / "data", noise(6, (16, 16, 3))), EXPORTED)
    return folder


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of 16 kB, where this user may mount one."""
    folder = tmp_path_factory.mktemp("disk")
    words = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def told(words: list[str], capsys: pytest.CaptureFixture[str], where: Path) -> None:
    """Exit code 74 and one line with the path, what was needed and what is free."""
    assert command(words) == FULL
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert error.startswith(f"error: {where}")
    assert "not written, the disk is full: " in error
    assert " needed, " in error
    assert " free. " in error


def commands(made: Path, out: Path) -> dict[str, tuple[list[str], Path]]:
    model, image = str(made / "run" / "model"), str(made / "data" / "0.png")
    return {
        "sample": (["sample", model, "-n", "64", "--out", str(out / "samples")], out / "samples" / "seed-"),
        "sheet": (["sample", model, "-n", "100", "--out", str(out / "sheet.png")], out / "sheet.png"),
        "reconstruct": (["reconstruct", model, *[image] * 64, "--out", str(out / "again")], out / "again" / "0"),
        "shapes": (["data", "shapes", "--count", "50", "--out", str(out / "shapes")], out / "shapes"),
        "compvis": (["export", model, "--format", "compvis", "--out", str(out / "one.ckpt")], out / "one.ckpt"),
        "diffusers": (["export", model, "--format", "diffusers", "--out", str(out / "two")], out / "two"),
    }


@pytest.mark.parametrize("what", ["sample", "sheet", "reconstruct", "shapes", "compvis", "diffusers"])
def test_a_disk_that_is_really_full(made: Path, disk: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    words, where = commands(made, disk)[what]
    told(words, capsys, where)
    for path in sorted(disk.rglob("*")):
        assert not path.name.startswith("."), "something half written is left"
        if path.suffix == ".png" and what != "shapes":
            Image.open(path).load()
        if path.is_file():
            path.unlink()


def failing(real: Callable[..., Any]) -> Callable[..., Any]:
    """Half of the file, then no room."""

    def save(self: Any, path: Any, *rest: Any, **more: Any) -> None:
        real(self, path, *rest, **more)
        with Path(path).open("r+b") as file:
            file.truncate(20)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return save


def test_a_picture_is_whole_or_not_there(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it would have replaced an older one, on every system."""
    out = tmp_path / "one.png"
    Image.new("RGB", (4, 4), "red").save(out)
    before = out.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", failing(Image.Image.save))
        told(["sample", str(made / "run"), "--out", str(out)], capsys, out)
        told(["data", "shapes", "--count", "1", "--out", str(tmp_path / "s")], capsys, tmp_path / "s")
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "s"]
    assert command(["sample", str(made / "run"), "--out", str(out)]) == 0
    assert out.read_bytes() != before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
@pytest.mark.parametrize("words", [["data", "check", "DATA", "--json"], ["inspect", "RUN"], ["recipes"], ["--help"]])
def test_output_to_a_full_disk(made: Path, words: list[str]) -> None:
    places = {"DATA": str(made / "data"), "RUN": str(made / "run")}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "latentry", *[places.get(word, word) for word in words]],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == FULL, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "disk is full" in done.stderr


def test_a_reader_who_has_had_enough_is_no_error(made: Path) -> None:
    """`latentry inspect RUN | head -1`."""
    writing = [sys.executable, "-m", "latentry", "inspect", str(made / "run")]
    child = subprocess.Popen(writing, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    errors = child.stderr.read()
    child.wait(60)
    assert errors == ""


def test_tensorboard_on_a_full_disk_is_one_line(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes in a thread of its own, whose traceback would stand between the lines of the training."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self: Any, data: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RecordWriter, "write", full)
    said: list[str] = []
    run = run_tiny(tmp_path, made / "data", report=said.append)
    assert [line for line in said if "TensorBoard" in line] == [
        "log: TensorBoard failed (No space left on device); training goes on without it"
    ]
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert (run.path / "model" / "unet.safetensors").is_file()


def test_a_dry_run_on_a_full_disk(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, parts: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(durable, "write", full)
    words = ["train", recipe(tmp_path), "--data", str(made / "data"), "--out", str(tmp_path / "run"), "--dry-run"]
    assert command(words) == FULL
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert DiskFull.exit_code == FULL
