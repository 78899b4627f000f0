"""If these fail, an edit is not what it is said to be, or what cannot be edited is not told in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from latentry.cli import run
from latentry.diffusion.solvers import SOLVERS
from latentry.errors import UsageError
from latentry.models.config import DiffusionOptions
from latentry.pipeline import Pipeline
from latentry.pipeline.output import grid
from latentry.tasks import TASKS
from latentry.tasks.edit import weights_of
from tests.unit.pipeline.small_pipelines import pipeline

RED, BLUE = "a red circle", "a blue circle"


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_with_no_change_of_prompt_both_are_the_sample_bit_for_bit(solver: str, guidance: float) -> None:
    pipe = pipeline()
    how: dict[str, Any] = {"seed": 3, "n": 3, "solver": solver, "guidance": guidance}
    sample = pipe.sample(RED, **how)
    edited = pipe.edit(RED, RED, **how)
    assert torch.equal(edited.tensor[0::2], sample.tensor)
    assert torch.equal(edited.tensor[1::2], sample.tensor)
    assert torch.equal(pipe.edit(RED, weight={"red": 1}, **how).tensor, edited.tensor)
    assert not torch.equal(pipe.edit(RED, BLUE, **how).tensor, edited.tensor)


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_shares_both_are_plain_samples_of_the_seed(solver: str) -> None:
    pipe = pipeline()
    how: dict[str, Any] = {"seed": 3, "n": 2, "solver": solver, "guidance": 2.0}
    free = pipe.edit(RED, BLUE, cross_share=0, self_share=0, **how).tensor
    kept = pipe.edit(RED, BLUE, cross_share=1, self_share=1, **how).tensor
    assert (free[0::2] - pipe.sample(RED, **how).tensor).abs().max() < 1e-4
    assert (free[1::2] - pipe.sample(BLUE, **how).tensor).abs().max() < 1e-4
    assert (kept[0::2] - free[0::2]).abs().max() < 1e-4, "the original depends on its edit"
    assert (kept[1::2] - free[1::2]).abs().max() > 1e-3


@pytest.mark.parametrize("solver", SOLVERS)
def test_words_that_the_model_does_not_tell_apart_change_nothing(solver: str) -> None:
    """Both are its unknown token: the same noise and the same attention lead to the same image, on another way."""
    images = (
        pipeline().edit("a 犬 circle", "a 猫 circle", solver=solver, cross_share=1, self_share=1, guidance=2.0).tensor
    )
    assert (images[0] - images[1]).abs().max() < 1e-4


def test_a_pair_is_drawn_together_and_does_not_depend_on_others() -> None:
    pipe = pipeline()
    three = pipe.edit(RED, BLUE, seed=3, n=3, batch=2)
    alone = pipe.edit(RED, BLUE, seed=4)
    assert (three.tensor[2:4] - alone.tensor).abs().max() < 1e-4
    assert [facts["prompt"] for facts in three.facts] == [RED, BLUE] * 3
    assert [facts["seed"] for facts in three.facts] == ["3", "3", "4", "4", "5", "5"]


def test_other_conditions_hold_for_both() -> None:
    pipe = pipeline()
    found = pipe.edit(RED, BLUE, label=["circle", "star"], seed=3, cross_share=0, self_share=0).tensor
    expected = pipe.sample([RED, BLUE], label=["circle", "circle"], seed=3).tensor
    assert (found[0] - expected[0]).abs().max() < 1e-4
    assert (found[3] - pipe.sample(BLUE, label="star", seed=4).tensor[0]).abs().max() < 1e-4


def test_progress_counts_every_call() -> None:
    seen: list[tuple[int, int]] = []
    pipeline().edit(RED, BLUE, n=3, batch=2, progress=lambda *at: seen.append(at))
    assert seen == [(i + 1, 8) for i in range(8)]


def test_files_and_the_sheet_show_pairs(tmp_path: Path) -> None:
    output = pipeline().edit(RED, BLUE, weight={"blue": 1.5}, seed=3, n=3)
    names = [path.name for path in output.save(tmp_path)]
    assert names == [f"seed-{seed}-{what}.png" for seed in (3, 4, 5) for what in ("original", "edit")]
    text = Image.open(tmp_path / "seed-3-edit.png").info
    assert (text["prompt"], text["edited_from"], text["weight"], text["cross_share"]) == (
        BLUE,
        RED,
        "blue=1.5",
        "0.8",
    )
    assert output.grid().size == grid(output.tensor, 4).size
    assert pipeline().edit(RED, BLUE).grid().size == grid(output.tensor[:2], 2).size
    assert Image.open(output.save_sheet(tmp_path / "sheet.png")).info["seeds"] == "3, 4, 5"


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("latentry.pipeline.load", lambda *_, **__: pipeline())
    words = ["model", RED, "--to", BLUE, "--weight", "blue=1.5,a=0.5", "--cross-share", "1", "--seed", "3"]
    assert run(["edit", *words, "--out", str(tmp_path)]) == 0
    expected = pipeline().edit(RED, BLUE, weight={"blue": 1.5, "a": 0.5}, cross_share=1, seed=3)
    assert "2 images in" in capsys.readouterr().out
    assert run(["edit", "model", "a 犬", "--to", "a 猫", "--steps", "1", "--out", str(tmp_path / "more")]) == 0
    assert "the model does not know 犬, 猫" in capsys.readouterr().err
    for name, image in zip(("original", "edit"), expected.images, strict=True):
        assert Image.open(tmp_path / f"seed-3-{name}.png").tobytes() == image.tobytes()


def test_weights_as_they_are_typed() -> None:
    assert weights_of("star=1.5, dark red=-.5") == {"star": 1.5, "dark red": -0.5}
    for wrong in ("star", "star=", "=1", "star=x", "", "star=1,"):
        with pytest.raises(ValueError, match="accepted: WORD=FACTOR"):
            weights_of(wrong)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, "nothing is changed"),
        ({"to": BLUE, "weight": {"red": 2}}, 'weight: "red" is not in what the model reads of "a blue circle"'),
        ({"weight": "circel=2"}, 'did you mean "circle"'),
        ({"text": "a 犬", "weight": {"犬": 2}}, "the model does not know 犬"),
        ({"weight": {"red": 1e9}}, "weight"),
        ({"to": BLUE, "cross_share": 1.5}, "cross_share"),
        ({"to": BLUE, "self_share": -1}, "self_share"),
        ({"to": "x" * 100_001}, "to: "),
        ({"to": "half \ud800"}, "to: "),
        ({"text": [RED], "to": BLUE}, "text"),
    ],
)
def test_wrong_requests(options: dict[str, Any], part: str) -> None:
    with pytest.raises(UsageError) as caught:
        pipeline().run("edit", **{"text": RED, **options})
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def without_cross_attention() -> Pipeline:
    """The text reaches the blocks of another level only, which has no attention."""
    pipe = pipeline(conditions="text")
    assert pipe.denoiser is not None
    tree = pipe.denoiser.options.model_dump()
    tree["unet"] |= {"transformer_depth": [1, 0], "attention": []}
    from latentry.models.latent_diffusion import LatentDiffusion

    model = LatentDiffusion(DiffusionOptions.model_validate(tree), 4, pipe.denoiser.named_conditioners())
    return Pipeline(pipe.config, pipe.autoencoder, model, source="small")


@pytest.mark.parametrize(
    ("pipe", "part"),
    [
        (lambda: pipeline(conditions=""), "first stage only"),
        (lambda: pipeline(conditions="vector"), r"takes no text \(it takes: label\)"),
        (lambda: pipeline(conditions="none"), r"takes no text \(it takes: nothing\)"),
        (without_cross_attention, "no layer attends to the text"),
    ],
)
def test_models_that_cannot_say_why(pipe: Any, part: str) -> None:
    with pytest.raises(UsageError, match=f"^small: .*{part}"):
        pipe().edit(RED, BLUE)
    why_not = TASKS["edit"].task.why_not(pipe().model)
    assert why_not is not None
    assert why_not.count(".") >= 1
