"""Batches: the same whatever the workers, from any step on, and no process left behind."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from latentry.data import loader
from latentry.data.dataset import ImageData, Pick
from latentry.data.loader import batches, samples
from latentry.data.sample import FIELDS, Example, Sample
from latentry.errors import LatentryError, UsageError
from tests.unit.data.files import flat, metadata, noise, numbered, options, plain_png

GIVEN = {"size": 8, "held_out": 0, "flip": True, "crop": "random", "text": "text", "label": "text", "balance": "text"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = []
    for n in range(23):
        (tmp_path / f"{n}.png").write_bytes(plain_png(noise(10, 13, 3, 16, seed=n)))
        rows.append({"file_name": f"{n}.png", "text": f"t{n % 5}"})
    (tmp_path / "7.png").write_bytes((tmp_path / "7.png").read_bytes()[:400])
    metadata(tmp_path, rows)
    return tmp_path


def facts(sample: Sample) -> dict[str, Any]:
    """What a condition could be fed, a tensor made of the pixels among it."""
    return {
        "text": sample.caption,
        "label": sample.label,
        "index": sample.index,
        "flip": sample.flip,
        "mean": sample.image.mean(),
    }


def same(a: Example, b: Example) -> bool:
    assert a.image is not None
    assert b.image is not None
    return torch.equal(a.image, b.image) and a.values == b.values and a.positions == b.positions


def take(data: ImageData, start: int, count: int, workers: int) -> list[Example]:
    stream = batches(data, start, 4, workers=workers, values=facts, reads=FIELDS)
    taken = list(itertools.islice(stream, count))
    stream.close()  # type: ignore[attr-defined]
    return taken


def test_workers_and_resuming_change_nothing(folder: Path) -> None:
    """Bad file included: 0, 2 and 4 workers, and a start in the middle, give identical batches."""
    whole = take(ImageData(options(**GIVEN), folder, seed=3), 0, 20, 0)
    for start, workers in ((0, 2), (0, 4), (13, 0), (13, 3)):
        part = take(ImageData(options(**GIVEN), folder, seed=3), start, 20 - start, workers)
        assert all(same(a, b) for a, b in zip(whole[start:], part, strict=True)), (start, workers)
    assert not multiprocessing.active_children()


def test_a_batch_is_its_samples(folder: Path) -> None:
    """The batch path and the sample path must not drift apart."""
    data = ImageData(options(**GIVEN), folder, seed=3)
    (batch,) = take(data, 5, 1, 0)
    assert batch.positions == [20, 21, 22, 23]
    assert batch.image is not None
    assert batch.image.shape == (4, 3, 8, 8)
    values = batch.values
    for row, position in enumerate(batch.positions):
        sample = data.load(data.pick(position))
        assert torch.equal(sample.image, batch.image[row])
        assert (sample.caption, sample.index) == (values["text"][row], values["index"][row])
        assert (sample.flip, sample.label) == (values["flip"][row], values["label"][row])


def test_two_processes_take_the_halves_of_one_batch(folder: Path) -> None:
    """World size must not change what a step sees."""
    data = ImageData(options(**GIVEN), folder, seed=3)
    (whole,) = take(data, 2, 1, 0)
    halves = [next(batches(data, 2, 4, lambda s, r=r: range(4 * s + 2 * r, 4 * s + 2 * r + 2))) for r in (0, 1)]  # type: ignore[misc]
    assert whole.image is not None
    assert torch.equal(whole.image, torch.cat([half.image for half in halves if half.image is not None]))


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_bad_files_met_by_workers_stop_with_their_names(tmp_path: Path, workers: int) -> None:
    """Each worker sees only some of them; the sum counts, and the message is ours, not a worker's traceback."""
    numbered(tmp_path, 12)
    for n in range(4):
        whole = plain_png(noise(32, 32, 3, seed=n))
        (tmp_path / f"bad{n}.png").write_bytes(whole[: len(whole) // 2])
    lines: list[str] = []
    data = ImageData(options(size=8, held_out=0, max_bad=3), tmp_path, report=lines.append)
    with pytest.raises(LatentryError, match=r"(?s)^data folder [^\n]*: 4 files cannot be used.*bad0.*bad3") as caught:
        take(data, 0, 8, workers)
    assert "Traceback" not in str(caught.value)
    assert len(lines) == 4


def test_nothing_but_bad_files_ends_with_one_line(tmp_path: Path) -> None:
    """Looking for a replacement must not go on for ever."""
    whole = plain_png(noise(32, 32, 3))
    for n in range(3):
        (tmp_path / f"bad{n}.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LatentryError, match="no image could be read"):
        take(ImageData(options(size=8, held_out=0), tmp_path), 0, 1, 0)


def groups(data: ImageData) -> list[list[Pick]]:
    """Every image once, as a cache reads them: in order, in threes, each other group mirrored."""
    indices = list(range(len(data)))
    return [[Pick(i, i, flip=first % 2 == 1) for i in indices[first : first + 3]] for first in range(0, len(data), 3)]


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_samples_in_order_once_whatever_the_workers(folder: Path, workers: int) -> None:
    """Latents are cached by place: one group out of order, or read twice, and every caption belongs to a neighbour."""
    said: list[str] = []
    data = ImageData(options(**GIVEN), folder, seed=3, report=said.append)
    expected = [[ImageData(options(**GIVEN), folder, seed=3).load(pick) for pick in group] for group in groups(data)]
    read = list(samples(data, iter(groups(data)), workers, FIELDS))
    assert [len(group) for group in read] == [3] * 7 + [2]
    for ours, theirs in zip(itertools.chain(*read), itertools.chain(*expected), strict=True):
        assert (ours.position, ours.index, ours.flip) == (theirs.position, theirs.index, theirs.flip)
        assert (ours.caption, ours.label) == (theirs.caption, theirs.label)
        assert torch.equal(ours.image, theirs.image)
    assert [line for line in said if "7.png" in line] == said
    assert len(said) == 1, "a bad file is told once, by whoever met it"
    assert not multiprocessing.active_children()


def test_samples_without_pixels_open_no_file(folder: Path) -> None:
    """Captions of cached latents, read ahead by workers."""
    data = ImageData(options(**GIVEN), folder, seed=3)
    for path in folder.glob("*.png"):
        path.unlink()
    read = list(samples(data, groups(data), 2, frozenset({"caption"})))
    assert [s.caption for s in itertools.chain(*read)] == [data.text(i) for i in range(len(data))]
    assert all(s.pixels is None and s.label is None for s in itertools.chain(*read))


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_stop_with_the_names_of_bad_files(tmp_path: Path, workers: int) -> None:
    """A cache over half a download must not be filled with the other half."""
    numbered(tmp_path, 5)
    whole = plain_png(noise(32, 32, 3))
    for n in range(3):
        (tmp_path / f"bad{n}.png").write_bytes(whole[: len(whole) // 2])
    data = ImageData(options(size=8, held_out=0, max_bad=2), tmp_path)
    with pytest.raises(LatentryError, match=r"(?s)3 files cannot be used.*bad0.*bad1.*bad2"):
        list(samples(data, groups(data), workers))
    assert not multiprocessing.active_children()


def where_it_ran(sample: Sample) -> dict[str, Any]:
    return {"process": os.getpid(), "boxes": None if sample.boxes is None else sample.boxes.names}


def test_values_are_worked_out_by_forked_workers_and_here_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A degraded copy of each image would slow the loop down here; a spawned worker cannot carry a network."""
    data = ImageData(options(**GIVEN), folder, seed=3)
    here = os.getpid()
    for workers, forks, expected in ((0, True, True), (2, True, False), (2, False, True)):
        if sys.platform != "linux" and not expected:
            continue
        with monkeypatch.context() as patch:
            patch.setattr(loader, "FORKS", forks and sys.platform == "linux")
            stream = batches(data, 0, 4, workers=workers, values=where_it_ran)
            values = next(stream).values
            stream.close()  # type: ignore[attr-defined]
        assert (set(values["process"]) == {here}) == expected, (workers, forks)
        assert values["boxes"] == [None] * 4


def test_spawned_workers_give_the_same_batches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS and Windows begin workers anew: the same numbers there."""
    whole = take(ImageData(options(**GIVEN), folder, seed=3), 0, 4, 0)
    monkeypatch.setattr(loader, "FORKS", False)
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        part = take(ImageData(options(**GIVEN), folder, seed=3), 0, 4, 1)
    finally:
        multiprocessing.set_start_method(before, force=True)
    assert all(same(a, b) for a, b in zip(whole, part, strict=True))


def refuse(sample: Sample) -> dict[str, Any]:
    raise UsageError(f"data.text: {sample.caption!r} is no prompt; say more. Change it.")


@pytest.mark.parametrize("workers", [0, 2])
def test_what_values_refuse_is_one_line_from_workers_too(folder: Path, workers: int) -> None:
    """torch would put a worker's traceback around it."""
    stream = batches(ImageData(options(**GIVEN), folder), 0, 4, workers=workers, values=refuse, reads=FIELDS)
    with pytest.raises(UsageError, match=r"^data\.text: 't\d' is no prompt; say more\. Change it\.$"):
        next(stream)


def test_values_read_only_what_they_say(folder: Path) -> None:
    """A condition that forgets a field in `reads` is seen at once, not only with cached latents."""
    data = ImageData(options(**GIVEN), folder, seed=3)
    stream = batches(data, 0, 4, values=lambda s: {"text": s.caption, "label": s.label}, reads=frozenset({"label"}))
    values = next(stream).values
    assert values["text"] == [""] * 4
    assert set(values["label"]) <= set(data.labels)
    assert next(batches(data, 0, 4)).values == {}


_CHILD = """
import sys, threading, time
from latentry.data import loader
from latentry.data.dataset import ImageData
from latentry.data.loader import batches
from latentry.data.options import DataOptions
data = ImageData(DataOptions(size=256, held_out=0), sys.argv[1])
stream = batches(data, 0, 4, workers=2)
if sys.argv[2] == "kill early":
    begin = loader._quiet_worker
    loader._quiet_worker = lambda *given: (time.sleep(3), begin(*given))
    threading.Thread(target=next, args=(stream,), daemon=True).start()
    time.sleep(1)
    print("ready", flush=True)
    time.sleep(60)
next(stream)
if sys.argv[2] == "leave":
    print("ready", flush=True)
    sys.exit(0)
try:
    print("ready", flush=True)
    while True:
        next(stream)
        time.sleep(0.01)
except KeyboardInterrupt:
    sys.exit(130)
"""


def living(group: int) -> list[str]:
    """Processes of a group that still run, from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if its_group == str(group) and state != "Z":
                found.append(stat.parent.name)
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads the processes from /proc")
@pytest.mark.parametrize("how", ["interrupt", "leave", "kill", "kill early"])
def test_no_worker_outlives_its_run(tmp_path: Path, how: str) -> None:
    """Ctrl-C reaches the whole group; orphans would hold memory and the terminal. Batches are larger than a pipe."""
    numbered(tmp_path, 6, 256)
    flat(tmp_path / "a.png", size=(256, 256))
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    assert how == "leave" or len(living(child.pid)) == 3
    if how == "interrupt":
        os.killpg(child.pid, signal.SIGINT)
    elif how.startswith("kill"):
        child.kill()
    _, errors = child.communicate(timeout=60)
    if not how.startswith("kill"):
        assert child.returncode == {"interrupt": 130, "leave": 0}[how]
        assert "Traceback" not in errors
    deadline = time.monotonic() + 20
    while living(child.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not living(child.pid)
