"""Jobs on disk: a row of SQLite each, and a folder with the files that it was given and made."""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from latentry.errors import LatentryError

FILE = "jobs.sqlite"
OVER = ("completed", "failed", "cancelled", "interrupted")
_TABLE = """CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, task TEXT NOT NULL, model TEXT NOT NULL, body TEXT NOT NULL,
    status TEXT NOT NULL, created REAL NOT NULL, started REAL, ended REAL, error TEXT, images TEXT NOT NULL DEFAULT '[]'
)"""
COLUMNS = ("id", "key", "task", "model", "body", "status", "created", "started", "ended", "error", "images")
_OF_JSON = ("body", "error", "images")


class Store:
    """One folder, which one server uses at a time. Raises LatentryError for one that cannot be used."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = folder, threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(folder / FILE, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise LatentryError(f"--store {folder}: cannot be used ({error}). Choose another folder.") from None

    def close(self) -> None:
        """Nothing is written any more."""
        with self._lock:
            self._database.close()

    def place(self, id_: str) -> Path:
        """The folder of a job."""
        return self.folder / id_

    def add(self, id_: str, key: str, task: str, model: str, body: dict[str, Any]) -> None:
        """A new job."""
        row = (id_, key, task, model, json.dumps(body), "queued", time.time())
        with self._writing() as database:
            names = ", ".join(COLUMNS[: len(row)])
            database.execute(f"INSERT INTO jobs ({names}) VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def change(self, id_: str, **values: Any) -> None:
        """Some of its columns."""
        told = {name: json.dumps(value) if name in _OF_JSON else value for name, value in values.items()}
        with self._writing() as database:
            columns = ", ".join(f"{name} = ?" for name in told)
            database.execute(f"UPDATE jobs SET {columns} WHERE id = ?", (*told.values(), id_))

    def get(self, id_: str, key: str) -> dict[str, Any] | None:
        """A job of this key; None for what is not there, or another's."""
        return next(iter(self._rows("WHERE id = ? AND key = ?", id_, key)), None)

    def all_of(self, key: str, most: int, before: float) -> list[dict[str, Any]]:
        """The newest jobs of a key that were created before a time."""
        return self._rows("WHERE key = ? AND created < ? ORDER BY created DESC LIMIT ?", key, before, most)

    def remove(self, id_: str) -> None:
        """A job with its files."""
        with self._writing() as database:
            database.execute("DELETE FROM jobs WHERE id = ?", (id_,))
        shutil.rmtree(self.place(id_), ignore_errors=True)

    def interrupt(self) -> int:
        """Say of all that had not ended when the server before this one did that they were interrupted; how many."""
        with self._writing() as database:
            marks = ", ".join("?" * len(OVER))
            how = f"UPDATE jobs SET status = 'interrupted', ended = ? WHERE status NOT IN ({marks})"
            return database.execute(how, (time.time(), *OVER)).rowcount

    def prune(self, keep: int) -> None:
        """Only so many of those that have ended stay, the newest."""
        marks = ", ".join("?" * len(OVER))
        for row in self._rows(f"WHERE status IN ({marks}) ORDER BY created DESC LIMIT -1 OFFSET ?", *OVER, keep):
            self.remove(row["id"])

    def _rows(self, where: str, *values: Any) -> list[dict[str, Any]]:
        with self._lock:
            found = self._database.execute(f"SELECT {', '.join(COLUMNS)} FROM jobs {where}", values).fetchall()
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in found]
        return [{name: _plain(name, value) for name, value in row.items()} for row in rows]

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._database


def _plain(name: str, value: Any) -> Any:
    return json.loads(value) if name in _OF_JSON and value is not None else value
