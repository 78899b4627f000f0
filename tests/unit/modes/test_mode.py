"""Modes as text: what is typed is what is meant, and what is wrong is one line."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from latentry.errors import UsageError
from latentry.models.modes import PLAIN, Mode, checked, usual

EVERY = [
    Mode(precision, channels_last=last, compile=compiled, frozen=frozen)  # type: ignore[arg-type]
    for precision, last, compiled, frozen in product(("fp32", "bf16"), *[(False, True)] * 3)
]


@pytest.mark.parametrize("mode", EVERY, ids=str)
def test_a_mode_is_what_its_text_says(mode: Mode) -> None:
    """A picture's file holds the text: read as another mode it would be drawn with other bits."""
    assert Mode.parse(str(mode)) == mode


def test_words_may_stand_in_any_order_and_fp32_may_be_left_out() -> None:
    """`frozen, bf16` as people type it."""
    assert Mode.parse("frozen, bf16") == Mode("bf16", frozen=True)
    assert Mode.parse("compile") == Mode(compile=True)
    assert checked("auto") == "auto"
    assert checked(None) is None
    assert checked("fp32") == PLAIN


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bf61", r'mode: "bf61" is unknown \(did you mean "bf16"\?\); accepted: auto, or of fp32, bf16, .* Leave'),
        ("fp32,bf16", "mode: fp32,bf16; fp32 and bf16 exclude each other. Name one of them."),
        ("frozen,frozen", 'mode: "frozen" is twice; accepted'),
        ("", 'mode: "" is unknown'),
        ("bf16\n\x1b[2J,compile", "mode: .* is unknown"),
    ],
)
def test_a_wrong_mode_is_one_line(text: str, says: str) -> None:
    """What was found and what is accepted."""
    with pytest.raises(UsageError, match=says) as error:
        Mode.parse(text)
    assert "\n" not in str(error.value)
    assert "\x1b" not in str(error.value)


def test_the_usual_mode_rounds_nothing_more() -> None:
    """A seed must show the same picture where nobody asked for another precision: bf16 only by request."""
    assert {usual(torch.device(kind)).precision for kind in ("cpu", "cuda", "mps")} == {"fp32"}
    assert not any(usual(torch.device(kind)).compile for kind in ("cpu", "cuda", "mps"))
