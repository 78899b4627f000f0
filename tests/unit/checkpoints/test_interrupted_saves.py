"""A save that is killed, or meets a full disk, at any of its steps; and a reader that looks on."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from latentry.checkpoints import DiskFull, Store, durable, run_folder

HELPERS = Path(__file__).parent
OPERATIONS = ((os, "open"), (os, "write"), (os, "fsync"), (durable, "rename"))


def save(store: Store, step: int) -> None:
    store.save(step, {name: {"w": torch.full((300,), float(step))} for name in ("model", "ema")}, {"step": step})


def check_whole(store: Store) -> int:
    """The newest checkpoint's step, after looking that all of it belongs to one save."""
    saved = store.newest()
    assert saved is not None
    assert saved.state["step"] == saved.step
    for name in ("model", "ema"):
        assert (saved.tensors(name)["w"] == saved.step).all()
    return saved.step


def run_helper(name: str, *args: str) -> subprocess.Popen[str]:
    paths = os.pathsep.join([str(Path(durable.__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(HELPERS / name), *args]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True)


def test_a_save_killed_at_any_point_leaves_a_whole_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kill -9 inside a save would cost the run, or resume it from a mixture of two moments."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    helper = run_helper("killed_saves.py", str(tmp_path))
    out, _ = helper.communicate(timeout=120)
    assert helper.returncode == 0
    points = int(out)
    assert points >= 25, "the save has fewer steps than it must have: something is not injected"
    for point in range(points):
        root = tmp_path / f"point-{point}"
        store = Store(root, report=lambda text: pytest.fail(f"damage after a kill: {text}"))
        assert check_whole(store) in (2, 3), f"a reader after a kill at point {point}"
        store.clean()
        assert not list(root.glob("*.tmp")), f"left behind after a kill at point {point}"
        assert check_whole(store) in (2, 3)
        save(store, 3)
        assert check_whole(store) == 3
        assert store.steps() == [2, 3]


def test_replacing_a_checkpoint_killed_at_any_point_keeps_one_of_the_two(tmp_path: Path) -> None:
    """Saving a step again (after going back) with `keep: 1` must not risk the only checkpoint there is."""
    helper = run_helper("killed_saves.py", str(tmp_path), "replace")
    out, _ = helper.communicate(timeout=120)
    assert helper.returncode == 0
    for point in range(int(out)):
        store = Store(tmp_path / f"point-{point}", keep=1)
        store.clean()
        assert check_whole(store) == 2
        assert not list(store.root.glob("*.tmp"))


def test_a_checkpoint_gets_its_name_only_when_the_disk_has_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the name could be there without the data, and the checkpoint before it already pruned."""
    seen: list[str] = []
    opened: dict[int, str] = {}
    real_open, real_rename = os.open, durable.rename

    def opening(path: Any, *args: Any, **options: Any) -> int:
        handle = real_open(path, *args, **options)
        opened[handle] = Path(path).name
        return handle

    def renaming(source: Path, target: Path) -> None:
        seen.append(f"{source.name} -> {target.name}")
        real_rename(source, target)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append(opened[fd]))
    monkeypatch.setattr(durable, "rename", renaming)
    store = Store(tmp_path / "run", keep=1)
    save(store, 1)
    seen.clear()
    save(store, 2)
    assert seen == [
        *("model.safetensors", "ema.safetensors", "state.json", "manifest.json"),
        *("step-2.tmp", "step-2.tmp -> step-2", "run"),
        *("latest.tmp", "latest.tmp -> latest", "run"),
        "step-1 -> step-1.pruned.tmp",
    ]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(("module", "name"), OPERATIONS)
def test_a_full_disk_at_any_point_leaves_the_last_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, number: int
) -> None:
    """The run would lose what it had, fill the disk with halves, or end without saying what is missing."""
    store = Store(tmp_path)
    save(store, 2)
    real = getattr(module, name)
    for point in range(100):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, failing_at(point, name, real, number))
            error = failure_of(store)
        if error is None:
            break  # the save has no such operation left
        assert error.exit_code == 74
        assert re.search(f"{re.escape(str(tmp_path))}.*: not written, .* needed, .* free", str(error))
        assert check_whole(store) in (2, 3)
        assert not list(tmp_path.glob("*.tmp")), f"left behind at {name} {point}"
        if 3 in store.steps():
            durable.remove(tmp_path / "step-3")
    assert point >= 2
    assert check_whole(store) == 3


def failure_of(store: Store) -> DiskFull | None:
    try:
        save(store, 3)
    except DiskFull as error:
        return error
    return None


def failing_at(point: int, name: str, real: Callable[..., Any], number: int) -> Callable[..., Any]:
    """The function, failing in its call number `point` (and half done, for a write)."""
    calls = iter(range(10**6))

    def call(*args: Any, **options: Any) -> Any:
        if next(calls) == point:
            if name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            raise OSError(number, os.strerror(number))
        return real(*args, **options)

    return call


def test_a_reader_never_sees_half_a_checkpoint(tmp_path: Path) -> None:
    """A preview or an evaluation beside the training would load mixed or missing files."""
    reader = run_helper("polling_reader.py", str(tmp_path), "60")
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    store = Store(tmp_path, keep=1)
    for step in range(1, 61):
        save(store, step)
    out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0, out
    assert int(out) >= 10, "the reader hardly looked"


def test_a_reader_of_a_run_looks_into_no_folder_that_goes_away_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is being replaced has another name for a moment; a preview read then ended in a traceback."""
    (tmp_path / "model.replaced.tmp").mkdir()
    (tmp_path / "diffusion" / "step-0000001").mkdir(parents=True)
    scan = os.scandir

    def gone(place: str | os.PathLike[str]) -> Any:
        if str(place).endswith(".tmp"):
            raise FileNotFoundError(place)
        return scan(place)

    monkeypatch.setattr(os, "scandir", gone)
    assert [Path(entry).name for entry, _ in run_folder._contents(tmp_path)] == ["step-0000001"]
