"""`latentry recipes`: the recipes that come with latentry, and the schema of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentry.cli.output import JSON, emit_json, say, table
from latentry.errors import UsageError

app = typer.Typer(help="The recipes that come with latentry.", invoke_without_command=True)


@app.callback()
def recipes(context: typer.Context) -> None:
    """The recipes that come with latentry; alone, it lists them."""
    if context.invoked_subcommand is None:
        list_recipes()


@app.command("list")
def list_recipes(as_json: Annotated[bool, JSON] = False) -> None:
    """List the recipes by name, and then the zoo: the experiments of the paper."""
    from latentry.training.plan.recipes import names, plain, read, zoo

    about = {name: str(read(name).get("about", "")) for name in names()}
    if as_json:
        emit_json(about)
        return
    table(["recipe", "about"], [(name, about[name]) for name in plain()])
    say("\nThe zoo: the experiments of the paper, by its tables (docs/zoo.md)")
    table(["recipe", "about"], [(name, _first_sentence(about[name])) for name in zoo()])


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).partition(". ")[0]


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(help="A recipe's name, or a YAML file.")],
    whole: Annotated[bool, typer.Option("--whole", help="With what it takes from the recipe that it extends.")] = False,
) -> None:
    """Print a recipe: a start for your own."""
    from latentry.config import dump_yaml
    from latentry.training.plan.recipes import read, read_text

    say((dump_yaml(read(name)) if whole else read_text(name)).rstrip())


@app.command("from")
def from_model(
    model: Annotated[Path, typer.Argument(help="A model, a run, a checkpoint beside its YAML, a folder of diffusers.")],
    *,
    out: Annotated[Path | None, typer.Option(help="The YAML file to write; default: print it.")] = None,
) -> None:
    """Print a recipe that trains a model further: its networks as they are, to be begun with its weights."""
    from latentry.checkpoints.durable import replace_file
    from latentry.config import dump_yaml
    from latentry.training.plan.recipes import of_model

    if out is not None and out.exists():
        raise UsageError(f"--out {out}: already exists. Choose another.")
    text = dump_yaml(of_model(model))
    if out is None:
        say(text.rstrip())
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    replace_file(out, text)
    say(f"{out}: train it with `latentry train {out} --data DIR --out RUN`")


@app.command("schema")
def print_schema() -> None:
    """Print the JSON schema of a recipe, for editors that complete and check YAML."""
    from latentry.config import schema
    from latentry.training.plan.recipes import recipe_class

    emit_json(schema(recipe_class()))
