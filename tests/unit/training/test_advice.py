"""If these fail, a person finds out after a night what could be said at its start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from latentry.data import shapes
from latentry.data.dataset import ImageData
from latentry.errors import UsageError
from latentry.metrics import JUDGES
from latentry.training.advice.latent import small_latent
from latentry.training.plan.recipes import Recipe, load
from latentry.training.run import train
from latentry.training.stages.autoencoder.scale import Latents, measure_latents, outliers
from tests.e2e.small_runs import TEXT, noise, recipe, run_tiny, write_images, write_metadata
from tests.unit.training.small_stages import ALONE, first_stage, images


def advised(size: Any, levels: int, **changes: Any) -> str | None:
    first = {"channels": 32, "multipliers": [1, 2, 4, 8, 8][:levels], **changes}
    unet = {"channels": 32, "multipliers": [1], "norm_groups": 32}
    tree = {"name": "x", "data": {"size": size}, "autoencoder": first, "diffusion": {"unet": unet}}
    return small_latent(Recipe.model_validate(tree))


@pytest.mark.parametrize(
    ("size", "levels", "latent", "factor", "better"),
    [(96, 4, "12x12", 4, "24x24"), ([64, 96], 4, "12x8", 4, "24x16"), (128, 5, "8x8", 8, "16x16")],
)
def test_a_latent_too_small_for_detail_is_advised_against(
    size: Any, levels: int, latent: str, factor: int, better: str
) -> None:
    text = advised(size, levels)
    assert text is not None
    assert f"leave latents of {latent}, from which fine detail cannot come back; f = {factor} leaves {better}" in text
    assert f"{factor.bit_length()} entries, such as {[1, 2, 4, 8, 8][: factor.bit_length()]}" in text


@pytest.mark.parametrize(("size", "levels"), [(128, 4), (64, 3), (256, 5), (16, 2), (24, 3)])
def test_a_latent_that_is_large_enough_or_cannot_be_larger_is_not(size: int, levels: int) -> None:
    assert advised(size, levels) is None
    assert advised(96, 4, **{"from": "somewhere"}) is None  # its factor is as it is


def test_the_advice_comes_before_the_training(tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", noise(4, (48, 48, 3)))
    said: list[str] = []
    changes = {"data.size": 48, "autoencoder.multipliers": [1, 1, 2], "diffusion.unet.multipliers": [1, 2]}
    run_tiny(tmp_path, data, changes, stage="autoencoder", report=said.append)
    assert [text for text in said if text.startswith("data.size: images of 48x48 and a first stage of f = 4")]


@pytest.mark.parametrize("fields", [None, {"text": "a cat"}, {"text": "a cat", "pair": "own", "label": "x"}])
def test_a_recipe_for_the_made_shapes_says_so_to_other_images(fields: dict[str, str] | None, tmp_path: Path) -> None:
    """It stopped on a missing field `pair`, or, with such a field, failed after all was trained."""
    data = write_images(tmp_path / "data", noise(6, (64, 64, 3)))
    if fields:
        write_metadata(data, [fields] * 6)
    with pytest.raises(UsageError) as error:
        train("tiny-shapes", data, tmp_path / "run", report=lambda _: None)
    text = str(error.value)
    assert "The recipe tiny-shapes is for the images that `latentry data shapes` makes alone" in text
    assert "take the recipe small-64" in text
    assert not (tmp_path / "run").exists()


def test_a_judge_is_given_what_it_judges_by_or_refused_at_the_start(tmp_path: Path) -> None:
    data = write_images(tmp_path / "data", noise(6, (16, 16, 3)))
    write_metadata(data, [{"text": "a red star"}] * 6)
    with pytest.raises(UsageError, match=r"judges by captions, and data\.text is null"):
        run_tiny(tmp_path, data, {"judge": "shapes"})
    captions = {"judge": "shapes", "data.text": "text"}
    with pytest.raises(UsageError, match=r"diffusion\.conditioning is empty"):
        run_tiny(tmp_path, data, captions)
    run_tiny(tmp_path, data, captions, stage="autoencoder")  # which is not judged
    write_images(data, noise(6, (16, 16, 1)))
    grey = {**captions, "data.channels": 1, "diffusion.conditioning": {"text": TEXT}}
    with pytest.raises(UsageError, match="images of 1 channels; it looks at colours"):
        run_tiny(tmp_path / "grey", data, grey)


def test_the_made_shapes_are_what_the_recipe_is_for(tmp_path: Path) -> None:
    shapes.write(tmp_path / "shapes", 40, 16, 0)
    changes: dict[str, Any] = {"data.text": "text", "data.split_by": "pair", "judge": "shapes"}
    changes |= {"diffusion.conditioning": {"text": TEXT}}
    figures = run_tiny(tmp_path, tmp_path / "shapes", changes).figures
    assert any("judge" in name for name in figures)


def test_scenes_are_judged_by_what_is_asked_for_each_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JUDGES["scenes"], "counts", (6, 5))
    shapes.write(tmp_path / "scenes", 12, 32, 0, scenes=True)
    label: dict[str, Any] = {"kind": "class_label", "via": "vector", "width": 8}
    grey: dict[str, Any] = {"kind": "grey", "factor": 2}
    changes: dict[str, Any] = {"data.size": 32, "data.text": "text", "data.label": "label", "judge": "scenes"}
    conditions = {"text": TEXT, "label": label, "grey": grey}
    run = run_tiny(
        tmp_path, tmp_path / "scenes", {**changes, "diffusion.conditioning": conditions, "data.held_out": 0.3}
    )
    assert run.figures["judge right on real held-out images"] == 1
    named = ["captions right in 6 samples", "captions right in 5 samples of captions never trained on"]
    named.append("classes right in 6 samples")
    assert [name for name in run.figures if " in " in name] == named
    card = (run.path / "model" / "README.md").read_text()
    assert all(f"| {name} | " in card for name in named)
    with pytest.raises(UsageError, match=r"judges .* by caption or label, and .* has grey\. Set judge null"):
        run_tiny(tmp_path / "grey", tmp_path / "scenes", {**changes, "diffusion.conditioning": {"grey": grey}})


def test_other_errors_of_a_recipe_are_not_about_the_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        train("tiny-shapes", None, tmp_path / "run", report=lambda _: None)
    assert "small-64" not in str(error.value)
    assert load(recipe(tmp_path)).judge is None


def latents(**reaches: float) -> Latents:
    return Latents(0.0, 1.0, {int(name[1:]): reach for name, reach in reaches.items()})


def test_images_whose_latents_reach_far_are_named(tmp_path: Path) -> None:
    data = ImageData(load(recipe(tmp_path)).data, write_images(tmp_path / "data", noise(8, (16, 16, 3))))
    path = [record.path for record in data.records]
    text = outliers(latents(i0=3.0, i1=9.25, i2=6.9, i3=8.0), data, "kl")
    assert text is not None
    assert (
        f"latents of 2 of 4 images reach beyond 7 deviations from the mean: {path[1]} (9.2), {path[3]} (8.0)." in text
    )
    assert "a higher kl_weight" in text
    assert outliers(latents(i0=3.0, i1=6.99), data, "kl") is None


def test_how_far_latents_reach_is_measured_of_each_image(tmp_path: Path) -> None:
    stage = first_stage(images(tmp_path / "shapes"))
    found = measure_latents(stage.model, stage.data, 0, ALONE)
    assert sorted(found.reaches) == list(range(len(stage.data)))
    with torch.no_grad():
        moments = stage.model.moments(torch.stack([stage.data.sample(i).image for i in range(len(stage.data))]))
        far = (stage.model.posterior(moments).mean - found.mean).abs().flatten(1).amax(1) / found.deviation
    noise_of = 1.5  # draws of the posterior differ from its mean
    assert all(abs(found.reaches[i] - float(far[i])) < noise_of + 3 for i in found.reaches)
    plain = max(found.reaches.values())
    pixels = stage.data.sample(0).image

    def spoilt(x: torch.Tensor) -> torch.Tensor:
        first = (x - pixels).abs().flatten(1).amax(1) == 0
        return torch.where(first[:, None, None, None], 40.0, 1.0) * moments_of(x)

    moments_of, stage.model.moments = stage.model.moments, spoilt  # type: ignore[method-assign]
    reaches = measure_latents(stage.model, stage.data, 0, ALONE).reaches
    assert max(reaches, key=lambda index: reaches[index]) == 0
    assert reaches[0] > plain
