"""A study drawn up: its questions decided, its images copied, so that the folders may change or go afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from latentry import __version__, config, rng
from latentry.checkpoints import durable
from latentry.errors import UsageError
from latentry.study import FILE, kind_of, target
from latentry.study.preference.folders import Source, matched
from latentry.study.preference.options import MIDDLE, QUESTIONS, ROLES, Made, Pair, PreferenceOptions
from latentry.study.preference.pictures import picture, png, spoilt
from latentry.study.preference.questions import check_name, file_name, intact
from latentry.study.preference.store import Answers
from latentry.text import one_line, printable, read

IMAGES, ANSWERS = "images", "answers.sqlite"
FEWEST_USUAL, ONE_IN = 8, 10

Progress = Callable[[int, int], None]


def make(options: PreferenceOptions, out: Path, progress: Progress | None = None) -> Made:
    """Draw up the study in the new folder `out`, which appears whole or not at all.

    progress: called with (images copied, of how many). Errors: `UsageError`, one line, before anything is written.
    """
    target.refuse_target(out)
    pairs = matched(options)
    made = _decided(options, pairs)
    fresh = out.with_name(f".{out.name}.{os.getpid()}{durable.TMP}")
    try:
        fresh.mkdir(parents=True)
        (fresh / IMAGES).mkdir()
        _copy(made, pairs, fresh / IMAGES, progress)
        Answers(fresh / ANSWERS).close()
        durable.write(fresh / FILE, [json.dumps(plain(made), indent=1).encode()])
        durable.sync_folder(fresh)
        fresh.rename(out)
    except OSError as error:
        raise durable.explain(error, out, 0) from error
    finally:
        durable.remove(fresh)
    return made


def load(folder: Path) -> Made:
    """What a study's folder says that is asked. Errors: `UsageError`, one line."""
    where = one_line(str(folder / FILE))
    if (kind := kind_of(folder)) != "preference":
        raise UsageError(f"{where}: is a study of another kind ({kind}); accepted: a preference study")
    return config.validate(Made, json.loads(read(folder / FILE)), where)


def refuse_other(made: Made, options: PreferenceOptions, out: Path) -> None:
    """Raise `UsageError` where options were named that are not those of the study that is there."""
    target.refuse_other(plain(made)["options"], options.given(), out)


def plain(made: Made) -> dict[str, Any]:
    """As JSON can hold it."""
    options = made.options.model_dump(exclude=set(ROLES), exclude_none=True)
    return made.model_dump(exclude={"options"}) | {"options": made.options.given() | options}


def _decided(options: PreferenceOptions, pairs: list[dict[str, Source]]) -> Made:
    """Everything that one seed decides about a study, and what `auto` stands for."""
    about = options.about
    if about == "auto":
        about = "samples" if "input" not in pairs[0] else "upscaling" if _smaller(pairs[0]) else "inpainting"
    if about != "samples" and "input" not in pairs[0]:
        raise UsageError(f"--about: {about} asks about the image in the middle; name its folder with --input")
    contests = 3 if "truth" in pairs[0] else 1
    usual = max(FEWEST_USUAL, -(-contests * len(pairs) // ONE_IN))
    count = usual if options.checks is None else options.checks
    shuffled = rng.generator(options.seed, "preference/checks").permutation(len(pairs)).tolist()
    given = {role: Path(text) for role, text in options.given().items() if role in ROLES}
    return Made(
        made_with=f"latentry {__version__}",
        options=options.model_copy(update={**given, "checks": count, "about": about}),
        question=printable(options.question or QUESTIONS[about]),
        middle=MIDDLE.get(about, "image in the middle") if "input" in pairs[0] else None,
        pairs=tuple(Pair(**{role: printable(one.name) for role, one in pair.items()}) for pair in pairs),
        spoilt=tuple(int(shuffled[number % len(pairs)]) for number in range(count)),
    )


def _smaller(pair: dict[str, Source]) -> bool:
    return pair["input"].size[0] < pair["a"].size[0]


def _copy(made: Made, pairs: list[dict[str, Source]], folder: Path, progress: Progress | None) -> None:
    total, done = sum(map(len, pairs)) + len(made.spoilt), 0
    for number, pair in enumerate(pairs):
        for role, source in pair.items():
            durable.write(folder / file_name(number, role), [png(picture(role, source.path))])
            done += 1
            if progress:
                progress(done, total)
    for number, of in enumerate(made.spoilt):
        role = intact(made, number)
        pixels = picture(role, pairs[of][role].path)
        durable.write(folder / check_name(number), [png(spoilt(pixels, made.options.seed, number))])
    durable.sync_folder(folder)
