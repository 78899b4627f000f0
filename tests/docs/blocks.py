"""The code blocks of our Markdown, and commands checked against the command line without running them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from latentry import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The texts of a page's code blocks in one language, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        body for name, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if name == language
    ]


def commands(page: Path) -> list[list[str]]:
    """The arguments of every `latentry` command of a page's shell blocks, also under torchrun."""
    found = []
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            words = shlex.split(line.partition(" > ")[0], comments=True)
            for start in (["latentry"], ["-m", "latentry"]):
                places = [at for at in range(len(words)) if words[at : at + len(start)] == start]
                if places and (start[0] == "-m" or places[0] == 0):
                    found.append(words[places[0] + len(start) :])
    return found


def parse(arguments: list[str]) -> dict[str, Any]:
    """The values that a command would be called with. Raises what the command line would refuse it with."""
    command = cli.commands()
    context = command.make_context("latentry", list(arguments), resilient_parsing=False)
    rest = [*getattr(context, "_protected_args", []), *context.args]
    while hasattr(command, "resolve_command") and rest:
        _, command, rest = command.resolve_command(context, rest)
        context = command.make_context(command.name, rest, parent=context)
        rest = [*getattr(context, "_protected_args", []), *context.args]
    return dict(context.params)
