"""The answers of a study in SQLite: each is on the disk before the next question is shown."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from latentry.errors import LatentryError, UsageError
from latentry.text import one_line

TABLES = """
create table if not exists raters (
    rater integer primary key autoincrement,
    name text not null unique,
    joined text not null
);
create table if not exists showings (
    rater integer not null references raters,
    question integer not null,
    times integer not null,
    primary key (rater, question)
);
create table if not exists answers (
    rater integer not null references raters,
    question integer not null,
    contest text not null,
    pair integer not null,
    "left" text not null,
    "right" text not null,
    side text not null check (side in ('left', 'right')),
    chosen text not null,
    seconds real,
    answered text not null,
    primary key (rater, question)
);
"""
"""left, right, chosen: images by role. seconds: from when they were shown; null where the server began anew between."""


class Answer(NamedTuple):
    """One line of the table `answers`."""

    rater: int
    question: int
    contest: str
    pair: int
    left: str
    right: str
    side: str
    chosen: str
    seconds: float | None
    times: int = 1


class Answers:
    """The database of a study; may be asked by several threads, and opened by several processes at once.

    Errors: `LatentryError`, one line, where the file cannot be read or written.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path, self._lock = path, threading.Lock()
        if read_only and not path.is_file():
            raise UsageError(f"{one_line(str(path))}: no answers are there; take the study from a copy")
        with self._explained():
            address = path.absolute().as_uri() + ("?mode=ro" if read_only else "")
            self._base = sqlite3.connect(address, uri=True, timeout=10, isolation_level=None, check_same_thread=False)
            if not read_only:
                self._base.execute("pragma journal_mode = wal")
                self._base.execute("pragma synchronous = full")  # else the newest answers are lost with the power
                self._base.execute("pragma foreign_keys = on")
                self._base.executescript(TABLES)
            self._base.execute("select 1 from answers limit 1").fetchall()

    def join(self, name: str) -> int:
        """The number of the person of that name: the same whenever they come back."""
        with self._explained():
            self._base.execute("insert or ignore into raters (name, joined) values (?, ?)", (name, _now()))
            return int(self._base.execute("select rater from raters where name = ?", (name,)).fetchone()[0])

    def names(self) -> dict[int, str]:
        """Everyone who has begun, by number."""
        with self._explained():
            return {int(rater): str(name) for rater, name in self._base.execute("select rater, name from raters")}

    def answered(self, rater: int) -> set[int]:
        """The questions that a person has answered."""
        with self._explained():
            rows = self._base.execute("select question from answers where rater = ?", (rater,))
            return {int(question) for (question,) in rows}

    def shown(self, rater: int, question: int) -> None:
        """Count that a person sees the images of a question; a second time after a page was closed or loaded anew."""
        with self._explained():
            self._base.execute(
                "insert into showings values (?, ?, 1) on conflict do update set times = times + 1", (rater, question)
            )

    def was_shown(self, rater: int, question: int) -> bool:
        """Whether a person has seen the images of a question."""
        with self._explained():
            rows = self._base.execute("select 1 from showings where rater = ? and question = ?", (rater, question))
            return rows.fetchone() is not None

    def add(self, answer: Answer) -> None:
        """Keep an answer, for good once this returns. The first to a question counts."""
        with self._explained():
            values = (*answer[:-1], _now())
            self._base.execute(f"insert or ignore into answers values ({', '.join('?' * len(values))})", values)

    def all(self) -> list[Answer]:
        """Every answer, with how often its images were shown."""
        with self._explained():
            rows = self._base.execute(
                'select rater, question, contest, pair, "left", "right", side, chosen, seconds, coalesce(times, 1) '
                "from answers left join showings using (rater, question) order by rater, answered, question"
            )
            return [Answer(*row) for row in rows]

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        with self._explained():
            self._base.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """One thread at a time, and what SQLite complains of in a line."""
        try:
            with self._lock:
                yield
        except sqlite3.DatabaseError as error:
            raise LatentryError(
                f"{one_line(str(self.path))}: {error}. What was answered before is kept; look at the file and the disk."
            ) from error


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
