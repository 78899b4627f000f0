"""Every number of the reference implementations of FID, KID, Inception Score, precision and recall, PSNR, SSIM.

If these fail, our figures are not those of the papers: the `mistakes` there show which error it is.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from latentry.metrics import psnr
from latentry.metrics.distances import (
    Moments,
    Normal,
    frechet,
    inception_score,
    kid,
    mmd2,
    precision_recall,
    subset_rows,
)
from latentry.metrics.distances.coverage import f_score
from latentry.metrics.distances.inception_score import Scores
from latentry.metrics.features.resizing import RESIZINGS
from latentry.metrics.ssim import ssim
from tests.shared import SHARED

FOLDER = SHARED / "compat" / "metrics"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"reference numbers not found at {FOLDER}")
sets = pytest.mark.parametrize("name", ["small", "wide"])


@pytest.fixture(scope="module")
def expected() -> Any:
    return json.loads((FOLDER / "expected.json").read_text())


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    return load_file(FOLDER / "features.safetensors")


def both(stored: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    return stored[f"{name}.real"].float(), stored[f"{name}.generated"].float()


@sets
@pytest.mark.parametrize("way", ["vectors", "moments"])
def test_fid(expected: Any, stored: dict[str, Tensor], name: str, way: str) -> None:
    normals = [Normal.from_vectors(x) if way == "vectors" else streamed(x) for x in both(stored, name)]
    found, figures = frechet(*normals), expected[name]["fid"]
    assert found == pytest.approx(figures["exact"], rel=1e-8 if name == "small" else 1e-6)
    for other in ("torch_fidelity_float32", "torch_fidelity_float64", "guided_diffusion_float64"):
        assert found == pytest.approx(figures[other], rel=1e-8 if name == "small" and "64" in other else 1e-5)
    mean = (normals[0].mean - normals[1].mean).square().sum()
    assert float(mean) == pytest.approx(figures["mean_term"], rel=1e-6)
    assert frechet(normals[0], normals[0]) == pytest.approx(0, abs=1e-6 if name == "small" else 1e-3)


def streamed(vectors: Tensor) -> Normal:
    moments = Moments(vectors.shape[1])
    for part in vectors.split(37):
        moments.update(part)
    return Normal.from_moments(moments)


@sets
def test_kid(expected: Any, stored: dict[str, Tensor], name: str) -> None:
    real, generated = both(stored, name)
    figures = expected[name]["kid"]
    for subsets in figures["subsets"]:
        how = subsets["settings"]
        rows = subset_rows(len(real), len(generated), how["kid_subsets"], how["kid_subset_size"], how["rng_seed"])
        if how["rng_seed"] == 7:
            first = stored[f"{name}.kid_rows_seed7.real"], stored[f"{name}.kid_rows_seed7.generated"]
            assert [(list(a), list(b)) for a, b in rows] == list(zip(*(x.tolist() for x in first), strict=True))
        found = kid(real, generated, rows)
        for form, near in (("float64", 1e-8), ("float32", 1e-4)):
            assert found.mean == pytest.approx(subsets[form]["mean"], rel=near)
            assert found.deviation == pytest.approx(subsets[form]["std"], rel=near)
    equal = figures["full_equal_count"]
    alike = mmd2(real[: equal["count"]], generated[: equal["count"]])
    assert alike == pytest.approx(equal["torch_fidelity_float64"], rel=1e-8)
    assert alike == pytest.approx(equal["torch_fidelity_float32"], rel=1e-4)
    assert mmd2(real, generated) == pytest.approx(figures["full_all_rows"], rel=1e-8)
    assert mmd2(real, real) == pytest.approx(figures["identical_sets_full"], rel=1e-8)


@sets
@pytest.mark.parametrize("k", [3, 5])
def test_precision_and_recall(expected: Any, stored: dict[str, Tensor], name: str, k: int) -> None:
    figures = expected[name]["prc"][f"k{k}"]
    found = precision_recall(*both(stored, name), k)
    assert found == pytest.approx(figures["float64"], abs=1e-12)
    wanted = {part: figures[part] for part in ("precision", "recall")}
    assert found == pytest.approx(wanted, abs=1e-6)
    assert f_score(**found) == pytest.approx(figures["f_score"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "splits", "shuffle"),
    [("splits10_shuffled_seed2020", 10, 2020), ("splits10_unshuffled", 10, None), ("splits1", 1, None),
     ("splits7_unshuffled", 7, None)],
)  # fmt: skip
def test_inception_score(expected: Any, stored: dict[str, Tensor], name: str, splits: int, shuffle: int | None) -> None:
    found, figures = inception_score(stored["class_logits"], splits, shuffle), expected["inception_score"][name]
    assert found.mean == pytest.approx(figures["mean"], rel=1e-8)
    assert found.deviation == pytest.approx(figures["std"], rel=1e-8, abs=1e-12)


def test_inception_score_of_parts_that_two_processes_have(expected: Any, stored: dict[str, Tensor]) -> None:
    """Of all of them, and not of those vectors that are kept; a part may come before another."""
    logits, figures = stored["class_logits"], expected["inception_score"]["splits10_shuffled_seed2020"]
    sides = Scores(len(logits)), Scores(len(logits))
    for turn, first in enumerate(reversed(range(0, len(logits), 37))):
        sides[turn % 2].update(first, logits[first : first + 37])
    found = sides[0].add(sides[1]).score()
    assert found.mean == pytest.approx(figures["mean"], rel=1e-8)
    assert found.deviation == pytest.approx(figures["std"], rel=1e-8, abs=1e-12)
    assert Scores(9, 3).add(Scores(9, 3)).answers.shape[1] == 0


def test_frechet_distances_of_normals_in_closed_form(expected: Any, stored: dict[str, Tensor]) -> None:
    assert len(expected["gaussians"]) >= 6
    for name, figures in expected["gaussians"].items():
        normals = [
            Normal.from_covariance(stored[f"gaussian.{name}.mean{i}"], stored[f"gaussian.{name}.cov{i}"])
            for i in (1, 2)
        ]
        found = frechet(normals[0], normals[1])
        near = 1e-6 if name.startswith("second_") else 1e-9
        for other in ("exact", "torch_fidelity", "guided_diffusion"):
            if figures[other] is not None:
                assert found == pytest.approx(figures[other], rel=near), (name, other)


def test_psnr_and_ssim(expected: Any) -> None:
    images = load_file(FOLDER / "images.safetensors")
    assert len(expected["pairs"]) >= 15
    for name, figures in expected["pairs"].items():
        one, other = images[f"pair.{name.split('.')[0]}.reference"], images[f"pair.{name}"]
        x, y = ((x if x.ndim == 3 else x[..., None]).movedim(-1, 0)[None].double() for x in (one, other))
        assert float(psnr(x, y, 255)) == pytest.approx(float(figures["psnr"]), abs=1e-6)
        assert float(ssim(x, y, 255)) == pytest.approx(figures["ssim"], abs=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "near"),
    [("bicubic", "cleanfid_bicubic", 1e-2), ("bilinear", "cleanfid_bilinear", 1e-2),
     ("lanczos", "cleanfid_lanczos", 1e-2), ("tensorflow1", "tf1_bilinear_plain", 1e-3),
     ("plain", "torch_bilinear_plain", 1e-2)],
)  # fmt: skip
def test_resizing(ours: str, theirs: str, near: float) -> None:
    images = load_file(FOLDER / "images.safetensors")
    given = images["resize.input"].movedim(-1, 0)[None]
    wanted = {key: x.movedim(-1, 0)[None] for key, x in images.items() if key.startswith(f"resize.{theirs}.")}
    assert wanted
    for x in wanted.values():
        assert float((RESIZINGS[ours](given, *x.shape[2:]) - x).abs().max()) <= near
