"""What people preferred: rates with intervals and a test, of those who passed the attention checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentry.study.findings import Findings, Table
from latentry.study.preference.making import ANSWERS, load
from latentry.study.preference.options import Made
from latentry.study.preference.questions import CHECK, CONTESTS, TASK, questions
from latentry.study.preference.statistics import binomial, needed, wilson
from latentry.study.preference.store import Answer, Answers

LEVEL = 0.05
NAMES = {"a": "A", "b": "B", "truth": "the real image"}
RULE = (
    "A person counts who has so many attention checks right that a guesser would get there at most once in 20 times: "
    "all of 5 to 7, 7 of 8, 9 of 10, 15 of 20. Who has met fewer than 5 is left out until then."
)
NO_RULE = "The study has no attention checks: everyone counts."


def report(folder: Path) -> Findings:
    """What was found so far. Errors: `UsageError`, one line."""
    made = load(folder)
    base = Answers(folder / ANSWERS, read_only=True)
    answers, names = base.all(), base.names()
    base.close()
    total = len(questions(made))
    raters = [
        _rater(made, total, rater, name, [a for a in answers if a.rater == rater]) for rater, name in names.items()
    ]
    counted = {one["rater"] for one in raters if one["counted"]}
    valid = [answer for answer in answers if answer.rater in counted and answer.contest != CHECK]
    contests = [_contest(name, valid) for name in CONTESTS if name == "a_b" or made.pairs[0].truth is not None]
    left = sum(answer.side == "left" for answer in valid)
    plain = {
        "study": "preference",
        "made_with": made.made_with,
        "question": made.question,
        "seconds": made.options.seconds,
        "seed": made.options.seed,
        "pairs": len(made.pairs),
        "folders": {role: path for role, path in made.options.given().items() if role in ("a", "b", "truth", "input")},
        "rule": RULE if made.spoilt else NO_RULE,
        "raters": raters,
        "contests": contests,
        "left": {"chosen": left, "answers": len(valid), "p": binomial(left, len(valid))},
        "shown_again": sum(answer.times > 1 for answer in valid),
    }
    return Findings([_rates(contests), _people(raters)], _lines(made, plain), plain)


def _rater(made: Made, total: int, rater: int, name: str, given: Sequence[Answer]) -> dict[str, Any]:
    """One person: how far they are, the checks, and whether they count."""
    checks = [answer for answer in given if answer.contest == CHECK]
    right, wanted = sum(answer.chosen != "spoilt" for answer in checks), needed(len(checks), LEVEL)
    counted = not made.spoilt or (wanted is not None and right >= wanted)
    why = "" if counted else "too few checks as yet" if wanted is None else f"needs {wanted} checks right"
    return {
        "rater": rater, "name": name, "answered": len(given), "of": total,
        "checks_right": right, "checks_met": len(checks), "checks_needed": wanted if made.spoilt else 0,
        "counted": counted, "why_not": why,
    }  # fmt: skip


def _contest(name: str, valid: Sequence[Answer]) -> dict[str, Any]:
    """The share of the first over the second."""
    first, second = CONTESTS[name]
    answers = [answer for answer in valid if answer.contest == name]
    k, n = sum(answer.chosen == first for answer in answers), len(answers)
    low, high = wilson(k, n)
    return {
        "contest": name, "task": TASK[name], "of": first, "over": second, "chosen": k, "answers": n,
        "rate": k / n if n else None, "interval": [low, high], "confidence": 0.95, "p": binomial(k, n),
        "raters": len({answer.rater for answer in answers}), "images": len({answer.pair for answer in answers}),
    }  # fmt: skip


def _rates(contests: Sequence[dict[str, Any]]) -> Table:
    rows = [
        (
            str(one["task"]),
            f"{NAMES[one['of']]} over {NAMES[one['over']]}",
            "-" if one["rate"] is None else f"{one['rate']:.1%}",
            f"{one['interval'][0]:.1%} to {one['interval'][1]:.1%}",
            f"{one['chosen']} of {one['answers']}",
            f"{one['p']:.2g}",
            _verdict(one),
        )
        for one in contests
    ]
    return Table(("task", "preferred", "rate", "95% interval", "answers", "p", "which says"), rows)


def _verdict(one: dict[str, Any]) -> str:
    if not one["answers"]:
        return "no answers as yet"
    if one["p"] > LEVEL:
        return "not shown to be told apart" if one["task"] == 1 else "no preference shown"
    winner = one["of"] if one["rate"] > 0.5 else one["over"]
    return f"{NAMES[winner]} is preferred"


def _people(raters: Sequence[dict[str, Any]]) -> Table:
    rows = [
        (
            one["name"],
            f"{one['answered']} of {one['of']}",
            f"{one['checks_right']} of {one['checks_met']}",
            "yes" if one["counted"] else f"no: {one['why_not']}",
        )
        for one in raters
    ]
    return Table(("person", "answered", "checks right", "counts"), rows)


def _lines(made: Made, plain: dict[str, Any]) -> list[str]:
    left = plain["left"]
    lines = [plain["rule"]]
    if left["answers"]:
        lines.append(f"Left was chosen {left['chosen']} of {left['answers']} times (p = {left['p']:.2g}).")
    if plain["shown_again"]:
        lines.append(f"{plain['shown_again']} answers came after the images were shown more than once.")
    people = sum(one["counted"] for one in plain["raters"])
    if people:
        lines.append(
            f"The intervals hold for these {len(made.pairs)} images and {people} people; those of one person are alike."
        )
    return lines
