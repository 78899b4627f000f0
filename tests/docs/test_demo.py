"""If these fail, the first page that a newcomer opens is empty, or says other figures than were measured."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from latentry.evaluation import result
from latentry.evaluation.figures import read_figures
from tests.docs.blocks import ROOT
from tests.docs.test_readme_runs import SMALL


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("demo", ROOT / "scripts" / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_the_demo_is_a_report_with_all_that_was_promised(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Curves of both stages, samples, reconstructions, and the figures of training and of the evaluation."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LATENTRY_WEIGHTS", raising=False)
    small = {**SMALL, "autoencoder.train.log_every": 1, "diffusion.train.log_every": 1}
    script.demo(tmp_path / "demo", tmp_path / "no model", 60, 4, small)
    words = (tmp_path / "demo" / "index.html").read_text(encoding="utf-8")
    found, trained = result.read(tmp_path / "demo"), read_figures(tmp_path / "demo" / "run")
    assert trained
    assert all(f">{name}</td>" in words for name in trained)
    assert all(f"{figure.value:.5g}" in words for figure in found.figures)
    assert {figure.name.partition("[")[0] for figure in found.figures} >= {"FD", "recall", "R-FD"}
    assert "There is no model at no model" in words
    assert words.count("<svg") == 2
    assert words.count("<img") == 12 + len(found.pictures)
    assert words.index("Tiny shapes, trained from scratch") < words.index("<h2>Figures</h2>")
    for name in ("shapes-seen.png", "shapes-unseen-5.png", "samples.png", "reconstructions.png"):
        assert (tmp_path / "demo" / name).is_file()


def test_a_figure_stands_beside_what_is_asked_for(script: ModuleType) -> None:
    table = script.judged({
        "judge right on their reconstructions": 0.981,
        "shape and colour right in 500 samples": 0.9,
        "shape and colour right in 240 samples of pairs never trained on": 0.75,
        "PSNR of held-out reconstructions (dB)": 30.5,
    })  # fmt: skip
    pairs = re.findall(r'>([^<]*)</td><td data-column="asked for">([^<]*)<', table)
    assert pairs == [("98.1%", "at least 97%"), ("90.0%", "at least 85%"), ("75.0%", "at least 50%"), ("30.5", "")]
