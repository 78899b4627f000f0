"""If these fail, a page shows a command, recipe, target or link that does not work."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from typing import get_args

import pytest
from pydantic import BaseModel

from latentry import config
from latentry.conditioning import CONDITIONERS
from latentry.data.options import DataOptions
from latentry.diffusion.schedule import SCHEDULES
from latentry.diffusion.solvers import SOLVERS
from latentry.diffusion.weighting import WEIGHTINGS
from latentry.kinds import Kind
from latentry.training.plan.recipes import Recipe, names, plain
from tests.docs.blocks import PAGES, ROOT, blocks, commands, parse


def test_pages_have_commands_to_check():
    assert sum(len(commands(page)) for page in PAGES) >= 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one(page):
    for arguments in commands(page):
        values = parse(arguments)
        assert values.get("recipe") in (None, "my.yaml", *names())


def test_a_command_that_is_none_is_seen():
    with pytest.raises(Exception, match="--otu"):
        parse(["train", "x", "--otu", "y"])
    with pytest.raises(Exception, match="trian"):
        parse(["trian", "x"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_and_links_exist(page):
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    for target in {line.split()[1] for line in lines if line.startswith("make ")}:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_recipes_shown_are_valid(page):
    for text in blocks(page, "yaml"):
        tree = config.parse_yaml(text, page.name)
        if "name" in tree:
            config.validate(Recipe, tree, page.name)
        else:
            config.validate(DataOptions, tree["data"], page.name)


def test_overrides_shown_are_valid():
    for page in PAGES:
        for arguments in commands(page):
            changes = parse(arguments).get("overrides") or []
            config.validate(Recipe, config.override({"name": "x"}, changes), f"{page.name}: {arguments}")


def test_the_readme_lists_the_recipes_that_there_are():
    """Those made here, and where the zoo is."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == sorted(plain())
    assert "(docs/zoo.md)" in page


def keys(model: type[BaseModel]) -> set[str]:
    """Every key of a class of options and of those inside it."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(field.alias or name)
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found |= keys(inner)
    return found


def test_every_key_of_a_recipe_is_explained():
    tables: list[Mapping[str, Kind]] = [SCHEDULES, SOLVERS, WEIGHTINGS, CONDITIONERS]
    kinds = {name for table in tables for name in table}
    asked = keys(Recipe) | kinds | {key for table in tables for kind in table.values() for key in keys(kind.options)}
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    assert sorted(asked - told) == []
