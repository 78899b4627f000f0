"""Errors a person can act on: one clear text, no traceback."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

LONGEST_WORD = 200
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "alloc_failed",
    "bad_alloc",
    "unable to mmap",
)
"""What torch and the libraries below it say, whatever the class of the error."""


class LatentryError(Exception):
    """Something failed. The text says where, what was found, what is accepted and what to do. Exit code 1."""

    exit_code = 1


class UsageError(LatentryError):
    """The request cannot be carried out as it is: a wrong argument, recipe, or folder. Exit code 2."""

    exit_code = 2


def is_out_of_memory(error: BaseException) -> bool:
    """Whether numpy, torch on the CPU, torch on a GPU, or the system could not get memory."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` for the nearest known word, or an empty string."""
    text = str(word) if not isinstance(word, int) else ""  # no number is a misspelt name, and some cannot be written
    near = difflib.get_close_matches(text, list(known), n=1, cutoff=0.5) if len(text) <= LONGEST_WORD else []
    return f' (did you mean "{near[0]}"?)' if near else ""


def shown(value: object, most: int = 80) -> str:
    """A value from outside as a message may show it: one line of at most `most` letters, shortened in the middle.

    Letters that a terminal would act on, or that no text file can hold, become `?`.
    """
    if isinstance(value, int) and value.bit_length() > 3 * most:  # Python refuses to write out long numbers
        return f"a number of about {int(value.bit_length() * 0.30103) + 1} digits"
    text = value if isinstance(value, str) else str(value)
    if len(text) > most:
        half = (most - 5) // 2
        text = f"{text[: most - 5 - half]} ... {text[-half:]}"
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
