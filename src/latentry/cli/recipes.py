"""`latentry recipes`: the recipes that come with latentry, and the schema of one."""

from __future__ import annotations

from typing import Annotated

import typer

from latentry.cli.output import JSON, emit_json, say, table

app = typer.Typer(help="The recipes that come with latentry.", invoke_without_command=True)


@app.callback()
def recipes(context: typer.Context) -> None:
    """The recipes that come with latentry; alone, it lists them."""
    if context.invoked_subcommand is None:
        list_recipes()


@app.command("list")
def list_recipes(as_json: Annotated[bool, JSON] = False) -> None:
    """List the recipes by name."""
    from latentry.config import parse_yaml
    from latentry.train.recipe import names, read_text

    about = {name: str(parse_yaml(read_text(name), name).get("about", "")) for name in names()}
    if as_json:
        emit_json(about)
    else:
        table(["recipe", "about"], list(about.items()))


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file.")]) -> None:
    """Print a recipe: a start for your own."""
    from latentry.train.recipe import read_text

    say(read_text(name).rstrip())


@app.command("schema")
def print_schema() -> None:
    """Print the JSON schema of a recipe, for editors that complete and check YAML."""
    from latentry.config import schema
    from latentry.train.recipe import Recipe

    emit_json(schema(Recipe))
