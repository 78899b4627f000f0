"""Errors a person can act on: one clear text, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LatentryError(Exception):
    """Something failed. The text says where, what was found, what is accepted and what to do. Exit code 1."""

    exit_code = 1


class UsageError(LatentryError):
    """The request cannot be carried out as it is: a wrong argument, recipe, or folder. Exit code 2."""

    exit_code = 2


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` for the nearest known word, or an empty string."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return f' (did you mean "{near[0]}"?)' if near else ""
