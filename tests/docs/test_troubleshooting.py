"""If these fail, latentry tells a person something that docs/troubleshooting.md does not explain, or the page's help
does not work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from latentry import config
from latentry.training.plan.recipes import Recipe, names
from tests.docs.blocks import ROOT, parse
from tests.docs.messages import HOLE, Message, fixed, plain, refusals, said

SOURCE = ROOT / "src" / "latentry"
PAGE = ROOT / "docs" / "troubleshooting.md"
NOT_HERE = {
    "config/check.py": "parts of the refusal of a recipe, each of which names the key and what is accepted",
    "errors.py": "a number in a refusal",
    "serve/jobs/store.py": "the condition of a question to a database",
    "verify/compare.py": "a cell in the table of `latentry verify`",
}
"""Texts that are no messages by themselves, and why."""
ROOMS = ("cli/", "data/", "devices.py", "diffusion/", "pipeline/", "tasks/", "training/")
"""Those whose refusals a person meets who trains and samples; the others refuse what is wrong in one file."""
ELSEWHERE = {
    "shapes": "said by `latentry data shapes` alone",
    "depth": "only Python calls can save in another depth",
    "schedule": "only an imported table can be none",
    "betas": "only an imported table has them",
    "churn": "only a Python call of the solver itself can leave out the levels that it needs",
}
"""What refusals begin with that need no row, and why."""


def on_page() -> str:
    return plain(PAGE.read_text(encoding="utf-8"))


def spans() -> list[str]:
    """What stands in backticks."""
    text = re.sub(r"^```.*?^```$", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def beginning(refusal: Message) -> str:
    """What a refusal begins with, as in `data.channels: …`; empty where that is a path or another text."""
    place = re.split(f"[:{HOLE}]", refusal.text)[0].strip(" .\"'(")
    return place if ":" in refusal.text and len(place.split()) <= 2 else ""


def missing(texts: list[Message], page: str) -> list[str]:
    """The messages of which the page does not have the first words that never vary."""
    wanted = ((message, fixed(message.text)) for message in texts)
    return [
        f'{message.place}: "{words}" of: {message.text[:120]}'
        for message, words in wanted
        if len(words.split()) > 1 and words not in page
    ]


def test_every_warning_and_note_is_explained():
    """A new warning gets a row: its words as they begin, what to look at, what to do."""
    texts = [message for message in said(SOURCE) if not message.place.startswith(tuple(NOT_HERE))]
    assert missing(texts, on_page()) == []
    assert len(texts) > 100


def test_every_kind_of_refusal_is_explained():
    """Each thing that refusals begin with (`data.label: `, `--out …`, ...) begins a message on the page."""
    page = on_page()
    starts = {beginning(refusal): refusal.place for refusal in refusals(SOURCE) if refusal.place.startswith(ROOMS)}
    explained = {start: place for start, place in starts.items() if start and start not in ELSEWHERE}
    begins = {start: re.search(rf"(?<![\w.-]){re.escape(start)}(:| {HOLE}|\.{HOLE})", page) for start in explained}
    assert {start: place for start, place in explained.items() if not begins[start]} == {}
    assert len(explained) > 20


def test_nothing_is_excused_that_is_not_there():
    places = {message.place.partition(":")[0] for message in said(SOURCE)}
    assert set(NOT_HERE) <= places
    assert set(ELSEWHERE) <= {beginning(refusal) for refusal in refusals(SOURCE)}


NEWCOMER = """
def check(report, source):
    if source:
        report(f"{source}: the moon is in the way; wait until it has set")
    line = "the sun is too bright for this"
    report(line)

def outlook(source) -> list[str]:
    warnings = []
    warnings.append(f"rain falls on {len(source)} of the images")
    return warnings

def heavy() -> str:
    return "snow lies on every one of them"

def tell(self):
    self.report(heavy())
    print("WARNING: hail and thunder are near")
"""


@pytest.mark.parametrize(
    "words",
    [
        "the moon is in the way",
        "the sun is too bright for",
        "of the images",
        "snow lies on every one of",
        "WARNING: hail and thunder are near",
    ],
)
def test_a_newcomers_warning_is_seen(words, tmp_path: Path):
    """However it is handed on: at once, by a local name, in a list, by a function, or only by its own word for it."""
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "weather.py").write_text(NEWCOMER)
    texts = said(tmp_path)
    assert any(words in message.text for message in texts)
    assert any(words in line for line in missing(texts, on_page()))


def test_a_docstring_is_no_message(tmp_path: Path):
    (tmp_path / "weather.py").write_text('def check():\n    """What a warning: is for."""\n    return "to be heard"\n')
    assert said(tmp_path) == []


def test_every_command_in_a_row_is_one():
    """Those in code blocks are held by test_pages."""
    lines = [shlex.split(span)[1:] for span in spans() if span.startswith("latentry ")]
    assert len(lines) > 15
    for arguments in lines:
        assert parse(arguments).get("recipe") in (None, "my.yaml", *names())


def test_every_setting_in_a_row_is_accepted():
    base = {"name": "x", "diffusion": {"train": {"decay": "cosine"}}}
    settings = [span.split() for span in spans() if re.match(r"(data|autoencoder|diffusion|sample)\.[\w.]+=", span)]
    assert len(settings) > 30
    for changes in settings:
        config.validate(Recipe, config.override(base, changes), f"{PAGE.name}: {changes}")


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]*#[^)]+)\)", PAGE.read_text(encoding="utf-8")))
def test_links_lead_to_headings(link):
    name, _, anchor = link.partition("#")
    page = (PAGE.parent / name) if name else PAGE
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
