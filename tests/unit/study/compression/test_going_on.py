"""If these fail, a study that was stopped begins again, goes on with other options, or ends with other numbers."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latentry.errors import UsageError
from latentry.nn import weights
from latentry.study import report
from latentry.study.compression import costs
from latentry.study.compression import run as running
from latentry.study.compression.options import CompressionOptions
from latentry.study.compression.run import study
from latentry.training.loop.loop import Progress
from latentry.training.loop.signals import Stopped
from tests.unit.study.compression.planted import COSTS, options

TIMED = {"rate"}


class Killed(Exception):
    """As kill -9: nobody saves anything."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def asked(place: Path) -> CompressionOptions:
    return options(place)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights, no cache of others, and looking costs nothing, so that every machine plans the same."""
    monkeypatch.setattr(weights, "located", lambda name: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(costs, "look", lambda *_: 0.0)
    monkeypatch.setattr(running, "write", report)  # without the plots, which take longer than all else


def carry_out(asked: CompressionOptions, out: Path, **how: Any) -> Any:
    how = {
        "device": "cpu",
        "report": lambda _: None,
        "timer": lambda plan, _: COSTS[plan.model.autoencoder.factor],
        **how,
    }
    return study(asked, out, **how).plain


@pytest.fixture(scope="module")
def unbroken(place: Path, asked: CompressionOptions) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "located", lambda name: None)
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        patch.setattr(costs, "look", lambda *_: 0.0)
        carry_out(asked, place / "unbroken")
    return place / "unbroken"


def numbers(folder: Path) -> Any:
    """What was found, without how fast."""

    def untimed(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: untimed(value) for key, value in tree.items() if key not in TIMED}
        return [untimed(one) for one in tree] if isinstance(tree, list | tuple) else tree

    return untimed(json.loads(json.dumps(report(folder).plain))["outcomes"])


def killed_at(step: int, stage: str = "diffusion") -> Callable[[Progress], None]:
    """Dies when a stage has come to a step."""

    def look(now: Progress) -> None:
        if (now.stage, now.step) == (stage, step):
            raise Killed

    return look


def test_the_whole_is_found(unbroken: Path) -> None:
    """Both factors, each measured at two checkpoints, the last in two numbers of steps, and the first stage."""
    found = numbers(unbroken)
    assert [one["factor"] for one in found] == [1, 2]
    assert all(one["done"] for one in found)
    assert [[(p["step"], p["steps"]) for p in one["progress"]] for one in found] == [
        [(6, 2), (12, 2)],
        [(5, 2), (10, 2)],
    ]
    assert [[(p["step"], p["steps"]) for p in one["speed"]] for one in found] == [
        [(12, 1), (12, 2)],
        [(10, 1), (10, 2)],
    ]
    assert [figure["name"].split()[0] for figure in found[1]["first_stage"]][:2] == ["PSNR", "SSIM"]
    assert [one["progress"][-1]["seconds"] for one in found] == pytest.approx([12 * 0.4, 15 * 0.1 + 10 * 0.3])
    assert {path.name for path in unbroken.glob("*.*")} >= {"index.html", "report.json", "report.csv", "speed-dark.png"}


def test_a_study_stopped_again_and_again_ends_with_the_same_numbers(
    asked: CompressionOptions, unbroken: Path, tmp_path: Path
) -> None:
    """Ctrl-C in the first training, then killed after it went on, in a later first stage, and between measurements."""
    out, said = tmp_path / "study", list[str]()

    def stop(now: Progress) -> None:
        if (now.stage, now.step) == ("diffusion", 7):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped) as caught:
        carry_out(asked, out, progress=stop)
    assert caught.value.code == 143
    assert (out / "f1" / "diffusion" / "step-7").is_dir()
    with pytest.raises(Killed):
        carry_out(asked, out, report=said.append, progress=killed_at(8))
    assert "f = 1: diffusion: goes on from step 7" in said
    with pytest.raises(Killed):
        carry_out(CompressionOptions(), out, progress=killed_at(9, "autoencoder"))
    assert (out / "f1" / running.TRAINED).exists()

    def kill(line: str) -> None:
        if line.startswith("f = 2: measuring step 10"):
            raise Killed

    with pytest.raises(Killed):
        carry_out(CompressionOptions(), out, report=kill)
    before = {path: path.stat().st_mtime_ns for path in (out / "measured").iterdir()}
    assert len(before) == 5  # three of f = 1 with a sheet, and one of f = 2
    carry_out(CompressionOptions(), out)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert numbers(out) == numbers(unbroken)


def test_what_is_finished_is_never_done_again(unbroken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "train", lambda *_, **__: pytest.fail("trained again"))
    files = [*unbroken.glob("measured/*"), *unbroken.glob("f*/*/step-*")]
    before = {path: path.stat().st_mtime_ns for path in files}
    carry_out(CompressionOptions(), unbroken, timer=lambda *_: pytest.fail("timed again"))
    assert {path: path.stat().st_mtime_ns for path in files} == before


def test_other_options_and_other_images_are_refused(asked: CompressionOptions, unbroken: Path, tmp_path: Path) -> None:
    """One line each, and nothing is touched. The same options, named again, go on."""
    copy = shutil.copytree(unbroken, tmp_path / "copy")
    carry_out(asked, copy)
    for changes, line in (
        ({"samples": 64}, "--samples: found 64; the study in .* was made with 32. Leave it out"),
        ({"factors": (1, 4)}, r"--factors: found \[1, 4\]; the study in .* was made with \[1, 2\]"),
        ({"seed": 3}, "--seed: found 3; the study in .* was made with left out"),
        ({"first_share": 0.5}, "--first-share: found 0.5"),
    ):
        with pytest.raises(UsageError, match=line) as caught:
            carry_out(CompressionOptions.model_validate(changes), copy)
        assert "\n" not in str(caught.value)
    moved = Path(str(asked.data)) / "0.png"
    kept = moved.read_bytes()
    try:
        moved.write_bytes((moved.parent / "1.png").read_bytes())
        with pytest.raises(UsageError, match=r"the images are not those this study began with: 1 changed: 0.png"):
            carry_out(CompressionOptions(), copy)
    finally:
        moved.write_bytes(kept)


def test_other_features_are_refused(unbroken: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Numbers of two networks in one plot would be compared."""
    copy = shutil.copytree(unbroken, tmp_path / "copy")
    said = json.loads((copy / "study.json").read_text())
    (copy / "study.json").write_text(json.dumps({**said, "features": ["squeezenet:0820e…", *said["features"]]}))
    with pytest.raises(
        UsageError, match=r"features: found pyramid:.*; the study measures in squeezenet:0820e…, pyramid"
    ):
        carry_out(CompressionOptions(), copy)
