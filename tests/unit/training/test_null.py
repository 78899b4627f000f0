"""A condition that cannot be absent is not dropped; asked to drop it, training says so before it begins."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import latentry as lt
from latentry.errors import UsageError
from tests.e2e.small_runs import noise, run_tiny, write_images, write_metadata

LABELS = {"data.label": "label", "diffusion.conditioning": {"label": {"kind": "class_label", "null": "none"}}}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = write_images(tmp_path / "data", noise(6, (16, 16, 3)))
    write_metadata(folder, [{"label": "ab"[i % 2]} for i in range(6)])
    return folder


@pytest.mark.parametrize(
    ("drop", "what"),
    [
        ({}, r"drop_condition is 0\.1 for it; it can be trained with drop_condition \{label: 0\}"),
        ({"diffusion.train.drop_condition": {"label": 0.5}}, r"drop_condition is 0\.5 for it"),
        ({"diffusion.train.drop_condition": 0, "diffusion.train.drop_all": 0.2}, r"drop_all is 0\.2; it is never"),
    ],
)
def test_dropping_it_is_refused_before_anything_is_written(
    drop: dict[str, Any], what: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r'conditioning\.label: has no "none" .*' + what):
        run_tiny(tmp_path, data, {**LABELS, **drop})
    assert not (tmp_path / "run").exists()


def test_never_dropped_it_trains_and_samples(data: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path, data, {**LABELS, "diffusion.train.drop_condition": {"label": 0}})
    pipe = lt.load(run.path)
    assert math.isfinite(float(pipe.sample(label="a", steps=2).tensor.mean()))
    with pytest.raises(UsageError, match="trained on labelled images alone"):
        pipe.sample(steps=2)
