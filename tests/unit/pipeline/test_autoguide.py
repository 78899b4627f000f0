"""Autoguidance by a checkpoint of one's own. If it fails, a picture is guided by another model than its file says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, PngImagePlugin

import latentry as lt
from latentry.cli import run as command
from latentry.errors import UsageError
from latentry.pipeline import Pipeline
from tests.e2e.small_runs import noise, run_tiny, write_images
from tests.unit.pipeline.small_pipelines import pipeline

UNCONDITIONAL = {"diffusion.conditioning": {}, "diffusion.train.save_every": 1, "diffusion.train.keep": 5}
HOW: dict[str, Any] = {"guidance": 3.0, "steps": 3, "seed": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without conditions whose checkpoints of steps 1 and 2 are both there."""
    folder = tmp_path_factory.mktemp("auto")
    rates = {"diffusion.train.lr": 0.1, "diffusion.train.ema": 0.1}  # so that the two differ
    return run_tiny(folder, write_images(folder / "data", noise(6, (16, 16, 3))), {**UNCONDITIONAL, **rates}).path


@pytest.fixture(scope="module")
def pipe(run: Path) -> Pipeline:
    return lt.load(run, device="cpu")


def test_the_earlier_checkpoint_stands_for_the_unconditional_prediction(run: Path, pipe: Pipeline) -> None:
    """Karras et al. 2024: x0 of the worse one + w (x0 of the model - that), at the first step, where x is the same."""
    worse = lt.load(run, step=1, device="cpu")
    main, bad = (next(one.steps(seed=4, steps=3)).x0 for one in (pipe, worse))
    guided = next(pipe.steps(autoguide=f"{run}@step-1", **HOW)).x0
    assert (main - bad).abs().max() > 1e-3
    torch.testing.assert_close(guided, bad + 3 * (main - bad), rtol=1e-4, atol=1e-5)


def test_it_is_named_by_text_by_path_or_is_one_that_is_open(run: Path, pipe: Pipeline) -> None:
    ways: list[Any] = [f"{run}@step-1", lt.load(run, step=1, device="cpu"), Path(f"{run}@step-1")]
    first, *others = (pipe.sample(autoguide=way, n=2, **HOW).tensor for way in ways)
    assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(first, pipe.sample(n=2, **HOW).tensor)


def test_guidance_alone_leaves_a_model_without_conditions_as_it_is(pipe: Pipeline) -> None:
    assert torch.equal(pipe.sample(**HOW).tensor, pipe.sample(**{**HOW, "guidance": 1.0}).tensor)


def test_outside_of_the_interval_it_is_the_model_alone(run: Path, pipe: Pipeline) -> None:
    """Trailing levels of three steps are at 1, 2/3 and 1/3 of the times; ddim remembers no step before the last."""
    plain: dict[str, Any] = {"steps": 3, "seed": 4, "solver": "ddim", "levels": "trailing"}
    auto = {**HOW, **plain, "autoguide": f"{run}@step-1"}
    alone, guided = list(pipe.steps(**plain)), list(pipe.steps(**auto))
    late, early = (list(pipe.steps(guidance_interval=part, **auto)) for part in ((0, 0.5), "0.9,1"))
    assert torch.equal(late[1].x, alone[1].x)
    assert not torch.equal(late[2].x, alone[2].x)
    assert torch.equal(early[0].x, guided[0].x)
    assert not torch.equal(early[2].x, guided[2].x)


def test_a_picture_names_it_and_is_drawn_again_to_the_bit(run: Path, pipe: Pipeline, tmp_path: Path) -> None:
    more: dict[str, Any] = {"guidance_interval": (0.2, 0.9), "guidance_rescale": 0.5, "autoguide": f"{run}@step-1"}
    out = pipe.sample(n=3, **HOW, **more)
    paths = out.save(tmp_path / "a")
    with Image.open(paths[1]) as picture:
        told, record = picture.info["autoguide"], json.loads(picture.info["latentry"])
    worse = lt.load(run, step=1, device="cpu")
    assert told == f"{run}, {worse.model_hash} (ema weights, step 1)"
    assert (record["autoguide"]["source"], record["autoguide"]["step"]) == (str(run), 1)
    assert torch.equal(pipe.again(paths[1]).tensor, out.tensor[1:2])
    assert command(["sample", "--from", str(paths[1]), "--device", "cpu", "--out", str(tmp_path / "b.png")]) == 0
    with Image.open(paths[1]) as one, Image.open(tmp_path / "b.png") as again:
        assert one.tobytes() == again.tobytes()
    sheet = out.save_sheet(tmp_path / "sheet.png")
    assert torch.equal(pipe.again(sheet).tensor, out.tensor)


def test_a_worse_model_that_has_changed_or_gone_is_told(run: Path, pipe: Pipeline, tmp_path: Path) -> None:
    (path,) = pipe.sample(autoguide=f"{run}@step-1", **HOW).save(tmp_path / "a")
    with Image.open(path) as picture:
        record = json.loads(picture.info["latentry"])
    for change, text in (
        ({"step": 2}, "is now .*, and the picture was guided by"),
        ({"source": str(tmp_path / "none")}, "none: no such file or folder; accepted: a run"),
        ({"source": ""}, "a model of an unknown place"),
    ):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("latentry", json.dumps({**record, "autoguide": {**record["autoguide"], **change}}))
        Image.new("L", (4, 4)).save(tmp_path / "other.png", pnginfo=info)
        with pytest.raises(UsageError, match=f"autoguide: .*{text}"):
            pipe.again(tmp_path / "other.png")


def test_what_cannot_guide_is_one_line(run: Path, pipe: Pipeline, tmp_path: Path) -> None:
    other = run_tiny(tmp_path, run.parent / "data", {**UNCONDITIONAL, "seed": 5}).path
    cases: list[tuple[dict[str, Any], str]] = [
        ({"autoguide": str(other)}, r"has another first stage \(\w"),
        ({"autoguide": f"{run}@step-7"}, "no checkpoint of step 7; known: 1, 2"),
        ({"autoguide": f"{run}@step-x"}, "no step; accepted: RUN@step-N"),
        ({"autoguide": f"{run / 'model'}@step-1"}, "has no checkpoints to choose from"),
        ({"autoguide": str(tmp_path / "none")}, "no such file or folder"),
        ({"autoguide": 7}, "accepted: a run, a model folder"),
        ({"autoguide": pipeline(conditions="")}, "holds a first stage only"),
        ({"autoguide": str(run), "guidance": 1}, "guidance is 1, which leaves it without effect"),
        ({"guidance_interval": "0.8,0.2"}, r"guidance_interval: 0\.8 to 0\.2; accepted: two shares"),
        ({"guidance_interval": "0.8"}, "guidance_interval"),
        ({"guidance_rescale": 1.5}, "guidance_rescale"),
    ]
    for options, text in cases:
        with pytest.raises(UsageError, match=text) as caught:
            pipe.sample(**{**HOW, **options})
        assert "\n" not in str(caught.value)
