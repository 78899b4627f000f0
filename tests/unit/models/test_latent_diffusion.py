"""Any subset of conditions can be asked for, and training drops each by itself."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from latentry.errors import UsageError
from latentry.models.config import DiffusionOptions, UNetOptions
from latentry.models.latent_diffusion import LatentDiffusion
from tests.unit.models.small_models import CONDITIONS, LABEL, VALUES, denoiser, values_for

SEVERAL = ["both", "two contexts"]
BOTH, NEITHER = torch.tensor([True, True]), torch.tensor([False, False])


@torch.no_grad()
@pytest.mark.parametrize("conditions", SEVERAL)
def test_an_absent_condition_is_its_null(conditions: str) -> None:
    model = denoiser(conditions)
    nulls: dict[str, list[Any]] = {"text": ["", ""], "label": [None, None]}
    for asked in itertools.product([True, False], repeat=2):
        names = [name for name, wanted in zip(VALUES, asked, strict=True) if wanted]
        some = model.condition({name: VALUES[name] for name in names}, 2)
        written_out = model.condition({**nulls, **{name: VALUES[name] for name in names}}, 2)
        for part, value in some.parts().items():
            assert torch.allclose(value, written_out.parts()[part], atol=1e-6), (names, part)


@torch.no_grad()
@pytest.mark.parametrize("conditions", SEVERAL)
def test_each_row_is_dropped_by_itself(conditions: str) -> None:
    """Row 0 keeps its text and loses its label, row 1 the reverse."""
    model = denoiser(conditions)
    text, label = ({name: VALUES[name]} for name in ("text", "label"))
    keep = {"text": torch.tensor([True, False]), "label": torch.tensor([False, True])}
    dropped = model.dropped(values_for(conditions), keep)
    for row, asked in ((0, text), (1, label)):
        for part, value in model.condition(asked, 2).parts().items():
            assert torch.allclose(dropped.parts()[part][row], value[row], atol=1e-6), (row, part)


@torch.no_grad()
@pytest.mark.parametrize("conditions", CONDITIONS)
def test_every_condition_changes_the_prediction(conditions: str) -> None:
    model = denoiser(conditions)
    x, t = torch.randn(2, 4, 8, 8), torch.tensor([10, 500])
    told = model(x, t, model.condition(values_for(conditions), 2))
    for name in CONDITIONS[conditions]:
        rest = {n: v for n, v in values_for(conditions).items() if n != name}
        assert not torch.allclose(model(x, t, model.condition(rest, 2)), told, atol=1e-4), name


def test_a_dropped_condition_trains_its_null_alone() -> None:
    model = denoiser("vector")
    out = model.dropped({"label": ["circle", "star"]}, {"label": NEITHER}).vector
    assert out is not None
    out.sum().backward()
    grad = model.get_parameter("conditioners.label.embedding.weight").grad
    assert grad is not None
    assert grad.abs().sum(1).tolist() == [0, 0, 0, pytest.approx(16)]


@torch.no_grad()
def test_a_condition_without_a_null_is_always_kept() -> None:
    """Published class models have no row for "no class": training one further stopped at its first step."""
    model = denoiser(conditioning={**CONDITIONS["text"], "label": {**LABEL, "null": "none"}})
    values = {**VALUES, "label": ["circle", "star"]}
    with pytest.raises(UsageError, match="trained on labelled images alone"):
        model.nothing(values, 2)
    kept = model.dropped(values, {"text": NEITHER, "label": BOTH})
    cond = model.condition({**values, "text": None}, 2)
    for name, part in cond.parts().items():
        torch.testing.assert_close(kept.parts()[name], part)


def test_contexts_of_other_widths_are_projected() -> None:
    model = denoiser("two contexts")
    cond = model.condition(values_for("two contexts"), 2)
    assert cond.context is not None
    assert cond.context.shape == (2, 8 + 1, 16)  # eight tokens of text, one of the class
    wide = denoiser(
        "text", unet={"channels": 16, "multipliers": [1], "heads": 2, "norm_groups": 4, "context_channels": 20}
    )
    cond = wide.condition(values_for("text"), 2)
    assert cond.context is not None
    assert cond.context.shape == (2, 8, 20)


def test_vectors_of_two_widths_are_refused() -> None:
    conditions = {
        name: {"kind": "class_label", "via": "vector", "width": w, "classes": 2} for name, w in (("a", 8), ("b", 4))
    }
    options = DiffusionOptions.model_validate({"conditioning": conditions})
    from latentry.conditioning import BuildContext
    from latentry.models.build import build_conditioners

    made = build_conditioners(options, dict.fromkeys(conditions, BuildContext()))
    with pytest.raises(UsageError, match="widths 4, 8"):
        LatentDiffusion(options, 4, made)


def test_heads_or_their_width() -> None:
    assert UNetOptions().head_channels == 32
    assert UNetOptions(heads=4).head_channels is None
    assert UNetOptions.model_validate(UNetOptions(heads=4).model_dump()).heads == 4
    assert UNetOptions.model_validate(UNetOptions().model_dump()).head_channels == 32
    with pytest.raises(ValueError, match="heads 4 and head_channels 16: give one"):
        UNetOptions(heads=4, head_channels=16)
