"""If these fail, sides or order tell which method is which, answers are lost, or people who guess are counted."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from latentry.errors import UsageError
from latentry.study import report
from latentry.study.preference.asking import Study
from latentry.study.preference.questions import CHECK, order, swapped
from tests.unit.study.studies import GREY, answer_all, study_of


def first(contest, images, number):
    return 0


def test_everyone_has_an_order_and_sides_of_their_own(tmp_path):
    study = Study(study_of(tmp_path, "a", "b", "truth", count=40, checks=10))
    orders = [order(study.made, study.questions, rater) for rater in (1, 2)]
    assert all(sorted(one) == list(range(130)) for one in orders)
    assert orders[0] != orders[1]
    assert order(study.made, study.questions, 1) == orders[0]
    places = [k for k, number in enumerate(orders[0]) if study.questions[number].contest == CHECK]
    assert [place // 13 for place in places] == list(range(10))
    right = sum(swapped(study.made, rater, number) for rater in range(1, 11) for number in range(130))
    assert stats.binomtest(right, 1300).pvalue > 0.001


def test_the_sides_show_what_is_written_down(tmp_path):
    """Each answer names the image that was chosen as its file is."""
    path = study_of(tmp_path, "a", "b", "truth", "input", checks=5)
    study = Study(path)
    state = study.join("Ada")
    seen = {}
    while state["question"]:
        number = state["question"]["number"]
        shown = [np.asarray(Image.open(study.image(1, number, side))) for side in ("left", "right", "middle")]
        seen[number] = [pixels.mean() for pixels in shown[:2]]
        assert shown[2].mean() == GREY["input"]
        study.show(1, number)
        study._seen.clear()
        state = study.answer(1, number, "left")
    for one in study.answers.all():
        roles = (one.left, one.right)
        assert one.chosen == one.left
        assert all(seen[one.question][k] == GREY[role] for k, role in enumerate(roles) if role != "spoilt")
    assert len(seen) == 23


def test_a_planted_preference_is_recovered(tmp_path):
    """A person who takes A seven times in ten over B, and for real three times in ten."""
    path = study_of(tmp_path, "a", "b", "truth", count=100)
    study, random = Study(path), np.random.default_rng(3)
    shares = {"a_b": 0.7, "a_truth": 0.3, "b_truth": 0.1, CHECK: 1.0}
    for name in ("Ada", "Bo"):
        answer_all(study, name, lambda contest, *_: int(random.random() >= shares[contest]))
    found = {one["contest"]: one for one in report(path).plain["contests"]}
    for contest, one in found.items():
        low, high = one["interval"]
        assert one["answers"] == 200
        assert low < shares[contest] < high
        assert one["p"] < 0.001


def test_who_guesses_is_left_out_and_who_has_no_checks_yet(tmp_path):
    path = study_of(tmp_path, "a", "b", count=30)
    study, random = Study(path), np.random.default_rng(5)
    answer_all(study, "looks", first)
    answer_all(study, "guesses", lambda *_: int(random.integers(2)))
    answer_all(study, "begins", first, stop=4)
    plain = report(path).plain
    assert {one["name"]: one["counted"] for one in plain["raters"]} == {
        "looks": True,
        "guesses": False,
        "begins": False,
    }
    assert plain["contests"][0]["chosen"] == plain["contests"][0]["answers"] == 30


def test_a_study_goes_on_where_it_was(tmp_path):
    path = study_of(tmp_path, "a", "b", checks=5)
    assert answer_all(Study(path), "Ada", first, stop=4) == 4
    again = Study(path)
    assert again.join(" Ada ")["answered"] == 4
    assert answer_all(again, "Ada", first) == 7
    assert again.join("Ada")["question"] is None


def test_only_the_question_that_is_shown_can_be_answered(tmp_path):
    study = Study(study_of(tmp_path, "a", "b", checks=5, seconds=5.0))
    number = study.join("Ada")["question"]["number"]
    other = (number + 1) % len(study.questions)
    with pytest.raises(UsageError, match="not been shown"):
        study.answer(1, number, "left")
    with pytest.raises(UsageError, match="comes next"):
        study.show(1, other)
    study.show(1, number)
    with pytest.raises(UsageError, match="still being shown"):
        study.answer(1, number, "left")
    with pytest.raises(UsageError, match="Nobody"):
        study.answer(2, number, "left")
    assert study.answers.all() == []
