"""Pieces of a page: sections, tables, pictures inside the text; every word from outside is escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

STYLE = "style.css"


def document(title: str, body: Iterable[str], foot: str = "") -> str:
    """A whole page, which needs nothing but itself."""
    style = resources.files(__package__).joinpath(STYLE).read_text(encoding="utf-8")
    icon = '<link rel="icon" href="data:,">'
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{icon}<style>{style}</style></head>'
        f"<body><main>{''.join(body)}</main><footer><p>{html.escape(foot)}</p></footer></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A titled part; nothing where it has nothing to show."""
    body = "".join(parts)
    return f"<section><h2>{html.escape(title)}</h2>{body}</section>" if body else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: frozenset[int] = frozenset()) -> str:
    """Rows under columns; those whose places are among `numbers` stand to the right. Nothing for no rows.

    In a narrow window each row is a block that begins with its first cell, and every other has its column's name.
    """
    lines = list(rows)
    if not lines:
        return ""
    head = "".join(_cell("th", word, i in numbers) for i, word in enumerate(columns)) if any(columns) else ""
    body = "".join(
        f"<tr>{''.join(_cell('td', word, i in numbers, columns[i]) for i, word in enumerate(line))}</tr>"
        for line in lines
    )
    above = f"<thead><tr>{head}</tr></thead>" if head else ""
    kind = ' class="columns"' if head else ""
    return f'<div class="wide"><table{kind}>{above}<tbody>{body}</tbody></table></div>'


def facts(values: Mapping[str, Any]) -> str:
    """Names and what they are; what holds others is laid out flat."""
    return table(("", ""), ((name, str(value)) for name, value in flat(values)))


def flat(values: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """Pairs of a tree: `parameters.all`, value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        elif value not in (None, "", [], ()):
            yield f"{before}{name}", ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def picture(content: bytes, words: str) -> str:
    """A PNG inside the page, with words for who cannot see it."""
    text = html.escape(words)
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def thumbnails(pictures: Iterable[tuple[bytes, str]]) -> str:
    """Small pictures (PNG, words) in rows, of one width each."""
    return f'<div class="thumbnails">{"".join(picture(content, words) for content, words in pictures)}</div>'


def paragraph(words: str, kind: str = "") -> str:
    return f'<p class="{kind}">{html.escape(words)}</p>' if words else ""


def folded(title: str, words: str) -> str:
    """Long text that opens when asked for."""
    return f"<details><summary>{html.escape(title)}</summary><pre>{html.escape(words)}</pre></details>" if words else ""


def _cell(kind: str, word: str, number: bool, column: str = "") -> str:
    """column: what stands above it, which a narrow window shows beside it instead."""
    named = f' data-column="{html.escape(column)}"' if column else ""
    return f"<{kind}{' class=number' if number else ''}{named}>{html.escape(word)}</{kind}>"
