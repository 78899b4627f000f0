"""A classifier that another model lends. If it fails, samples are guided by what knows nothing of their latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from latentry.errors import UsageError
from latentry.pipeline import Pipeline, record
from tests.unit.pipeline.small_pipelines import pipeline

HOW: dict[str, Any] = {"label": "star", "classifier_scale": 2.0, "seed": 4}


def other_first_stage() -> Pipeline:
    pipe = pipeline(classifier=True)
    pipe.autoencoder.latent_scale.fill_(0.6)
    return pipe


def test_it_guides_as_the_model_s_own_does() -> None:
    own, without = pipeline(classifier=True), pipeline()
    expected = own.sample("a red circle", **HOW).tensor
    lent = without.sample("a red circle", classifier=own, **HOW)
    assert torch.equal(lent.tensor, expected)
    assert lent.facts[0]["classifier"] == "small, abc123 (ema weights)"
    assert not torch.equal(without.sample("a red circle", label="star", seed=4).tensor, expected)


def test_the_file_says_which_it_was(tmp_path: Path) -> None:
    (path,) = pipeline().sample("a red circle", classifier=pipeline(classifier=True), **HOW).save(tmp_path)
    named = record.read(path).classifier
    assert named is not None
    assert (named.source, named.hash) == ("small", "abc123")
    with pytest.raises(UsageError, match="classifier: small: no such file or folder"):
        pipeline().again(path)


@pytest.mark.parametrize(
    ("other", "part"),
    [
        (pipeline, "has no classifier"),
        (other_first_stage, r"has another first stage \(latent_scale\)"),
        (lambda: pipeline(classifier=True, schedule={"kind": "cosine"}), "has another noise schedule"),
        (lambda: "none", "classifier: none: no such file or folder"),
        (lambda: 3, "classifier: 3; accepted"),
    ],
)
def test_what_cannot_guide_is_one_line(other: Any, part: str) -> None:
    with pytest.raises(UsageError, match=part) as caught:
        pipeline().sample("a red circle", classifier=other(), **HOW)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("classifier: ")


def test_a_model_without_one_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"has no classifier\. Train one: .*classifier=\{\}.*--classifier PATH"):
        pipeline().sample("a red circle", **HOW)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({}, "no label to guide to; give --label, as in circle, square, star"),
        ({"label": "star"}, "scale 0; give --classifier-scale, as in 2"),
        ({"label": "star", "classifier_scale": 0.0}, "scale 0"),
    ],
)
def test_one_that_would_do_nothing_is_told(options: dict[str, Any], part: str) -> None:
    """The denoiser takes labels itself: without a scale the classifier would be opened and never asked."""
    with pytest.raises(UsageError, match=f"^classifier: is named, and has no effect with {part}") as caught:
        pipeline().sample("a red circle", classifier=pipeline(classifier=True), **options)
    assert len(str(caught.value).splitlines()) == 1
    free = pipeline(conditions="text").sample("a red circle", classifier=pipeline(classifier=True), label="star")
    assert free.facts[0]["classifier scale"] == "1"
