"""If these fail, a page shows a command, recipe, target or link that does not work."""

from __future__ import annotations

import re
import subprocess

import pytest

from latentry import config
from latentry.data.options import DataOptions
from latentry.train.recipe import Recipe, names
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
    table = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(table) == names()
