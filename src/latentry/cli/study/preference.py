"""`latentry study preference`: draw up a preference study, or go on with one, and serve its page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentry.cli.output import JSON, bar, emit_json, say
from latentry.interrupts import Interrupted, working

if TYPE_CHECKING:
    from latentry.study.preference.asking import Study
    from latentry.study.preference.web import Server

Folder = Path | None


def preference(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="The study's folder: a new one, or one to go on with.")],
    a: Annotated[Folder, typer.Option("--a", help="Folder of the images of one method.")] = None,
    b: Annotated[Folder, typer.Option("--b", help="Folder of those of the other, by the same names.")] = None,
    truth: Annotated[
        Folder, typer.Option(help="Folder of the real images: adds task 1, each method against them.")
    ] = None,
    input: Annotated[Folder, typer.Option(help="What the images were made from: low-resolution or masked.")] = None,
    about: Annotated[str, typer.Option(help="samples, upscaling or inpainting: what is asked.")] = "auto",
    question: Annotated[str | None, typer.Option(help="The question in your own words.")] = None,
    pairs: Annotated[int | None, typer.Option(help="How many images of each folder, drawn at random; all.")] = None,
    checks: Annotated[
        int | None, typer.Option(help="Attention checks: 0, or 5 and more; one in ten, at least 8.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long the images are seen.")] = 3.0,
    seed: Annotated[int, typer.Option(help="Of the order and the sides.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 finds a free one.")] = 8765,
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Serve the page, or only draw the study up.")
    ] = True,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Ask people which images they prefer, on a page of this machine."""
    words = {
        "a": a, "b": b, "truth": truth, "input": input, "about": about, "question": question, "pairs": pairs,
        "checks": checks, "seconds": seconds, "seed": seed,
    }  # fmt: skip
    typed = {name for name in words if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"}
    with working():
        _run({name: value for name, value in words.items() if name in typed}, out, port if serve else None, as_json)


def _run(words: dict[str, Any], out: Path, port: int | None, as_json: bool) -> None:
    """port: None only draws the study up."""
    from latentry import config
    from latentry.study import is_study
    from latentry.study.preference.asking import Study
    from latentry.study.preference.making import load, make, refuse_other
    from latentry.study.preference.options import PreferenceOptions
    from latentry.study.preference.server import pages
    from latentry.study.preference.web import Server

    options = config.validate(PreferenceOptions, words, "study preference")
    server = None if port is None else Server(port)  # a taken port is told before anything is written
    try:
        if is_study(out):
            refuse_other(load(out), options, out)
        else:
            with bar("copying") as progress:
                make(options, out, progress)
        study = Study(out)
        _tell(study, out, server, as_json)
        if server is not None:
            server.app = pages(study)
            _serve(server, study, out)
    finally:
        if server is not None:
            server.server_close()


def _tell(study: Study, out: Path, server: Server | None, as_json: bool) -> None:
    facts = {"study": str(out), "pairs": len(study.made.pairs), "questions": len(study.questions)}
    if as_json:
        emit_json({**facts, "url": server.url if server else None})
        return
    say(f"{facts['pairs']} pairs, {facts['questions']} questions a person in {out}")
    if server is not None:
        say(f"page: {server.url}   Ctrl-C ends it; `latentry study preference --out {out}` goes on")


def _serve(server: Server, study: Study, out: Path) -> None:
    try:
        server.serve_forever()
    except Interrupted as stop:
        answers = study.answers.all()
        people = len({one.rater for one in answers})
        study.answers.close()
        say(f"{len(answers)} answers of {people} {'person' if people == 1 else 'people'} are kept in {out}")
        raise typer.Exit(int(str(stop.code))) from None
