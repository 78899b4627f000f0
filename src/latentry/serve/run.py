"""The entry: models, engine, jobs and the application, joined and served until the process is told to stop."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn

from latentry import pipeline
from latentry.checkpoints import model_folder, run_folder
from latentry.checkpoints.lock import RunLock
from latentry.checkpoints.run_folder import STAGES
from latentry.checkpoints.store import Store
from latentry.errors import UsageError, shown
from latentry.serve.apart import apart
from latentry.serve.api.app import application
from latentry.serve.api.bodies.openai import ALIASES
from latentry.serve.api.desk import Desk
from latentry.serve.api.edge.guard import is_loopback
from latentry.serve.api.health import Metrics
from latentry.serve.engine.engine import Engine
from latentry.serve.engine.models import Load, Models
from latentry.serve.jobs.jobs import Jobs
from latentry.serve.jobs.store import Store as JobStore
from latentry.serve.listening import Server, bound
from latentry.serve.options import ServeOptions
from latentry.serve.runs.runs import Runs, runs_in
from latentry.text import printable

SHORTEST_TOKEN = 8
SWITCH = 0.001
"""Seconds after which a thread that computes lets the one that answers go on: Python's own 5 ms add up."""
MOST_CONNECTIONS = 900


@dataclass(frozen=True)
class Setting:
    """Where and for whom. names: of the server, besides addresses. aliases: other names of models."""

    host: str = "127.0.0.1"
    port: int = 8420
    tokens: Sequence[str] = ()
    names: Sequence[str] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    store: Path = Path("latentry-jobs")
    device: str = "auto"


def serve(
    paths: Sequence[Path], setting: Setting, options: ServeOptions, report: Callable[[str], None] = lambda _: None
) -> None:
    """Serve models, and show trainings, until SIGINT or SIGTERM. paths: models, runs, and folders of runs.

    report: called with lines for a person. Raises UsageError for an address that is not loopback without a token, and
    for what cannot be opened.
    """
    check_setting(setting)
    opened = [one for path in paths for one in found_in(path)]
    watched = Runs([path for path in paths if is_watched(path)])
    if not opened and not watched.folders:
        raise UsageError("MODEL is missing; give a model folder, a run, or a folder of runs")
    listening = bound(setting.host, setting.port)
    with (
        listening,
        RunLock(setting.store, option="--store"),
        tempfile.TemporaryDirectory(prefix="latentry-serve-") as root,
    ):
        metrics = Metrics()
        models = apart(Models, named(opened, setting.device), options.keep, aliases_of(opened, setting))
        engine = Engine(models, options, metrics.counted)
        metrics.watch(engine)
        jobs = Jobs(engine, JobStore(setting.store), options.keep_jobs)
        if jobs.interrupted:
            report(f"{jobs.interrupted} jobs of before were interrupted; each can be done again.")
        engine.start()
        how: dict[str, Any] = {
            "host": setting.host,
            "tokens": setting.tokens,
            "names": setting.names,
            "watched": watched,
        }
        app = application(Desk(engine, Path(root)), jobs, metrics, **how)
        host, port = listening.getsockname()[:2]
        report(f"{told(models, watched)}: http://{f'[{host}]' if ':' in host else host}:{port}")
        sys.setswitchinterval(SWITCH)
        server = Server(configured(app, options), engine)
        try:
            server.run(sockets=[listening])
        finally:
            engine.close(0)
            engine.join()
            jobs.close()


def configured(app: Any, options: ServeOptions) -> uvicorn.Config:
    """How uvicorn serves it."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(options.grace) + 5,
        limit_concurrency=MOST_CONNECTIONS,
        h11_max_incomplete_event_size=65_536,
    )


def check_setting(setting: Setting) -> None:
    """Raises UsageError for an address that others reach without a token, and for a token that is soon guessed."""
    if not setting.tokens and not is_loopback(setting.host):
        raise UsageError(
            f"--host {shown(setting.host)}: others can reach it; accepted without a token: 127.0.0.1, ::1, localhost. "
            "Give one: --token, or LATENTRY_TOKEN."
        )
    if any(len(token) < SHORTEST_TOKEN or not token.isascii() for token in setting.tokens):
        raise UsageError(
            f"--token: too short, or not ASCII; accepted: at least {SHORTEST_TOKEN} letters. `openssl rand -hex 16` "
            "makes one."
        )


def named(paths: Sequence[Path], device: str) -> dict[str, Load]:
    """The models by the names of their folders or files. Raises UsageError for two of one name."""
    found: dict[str, Load] = {}
    for path in paths:
        name = name_of(path)
        if name in found:
            raise UsageError(f"{path}: a second model called {name}; accepted: models of different names. Rename one.")
        found[name] = partial(pipeline.load, path, device=device)
    return found


def told(models: Models, watched: Runs) -> str:
    """What is served, in a few words."""
    names, count = list(models.named), len(watched.table())
    runs = [f"{count} training run{'s' if count != 1 else ''}"] if watched.folders else []
    return ", ".join([*names, *runs])


def name_of(path: Path) -> str:
    """What a model is called: its folder, a file without its ending, of `runs/a/model` the run."""
    whole = path.absolute()
    folder = whole.parent if whole.name == "model" and run_folder.is_run(whole.parent) else whole
    return printable(folder.stem if whole.is_file() else folder.name) or "model"


def aliases_of(paths: Sequence[Path], setting: Setting) -> dict[str, str]:
    """Other names to names. Raises UsageError for one that names no model."""
    names = [name_of(path) for path in paths]
    for other, name in setting.aliases.items():
        if name not in names:
            raise UsageError(f"--alias {shown(other)}={shown(name)}: no such model; known: {', '.join(names)}.")
    first = {alias: names[0] for alias in ALIASES if names and alias not in names}
    return {**first, **setting.aliases}


def found_in(path: Path) -> list[Path]:
    """The models of what was named: itself, or the runs in a folder of runs that have a finished model.

    None of a run that has saved nothing yet, and of an empty folder, into which one may come: these are watched.
    """
    if not path.is_dir() or model_folder.is_model(path):
        return [path]
    if run_folder.is_run(path):
        saved = model_folder.is_model(path / run_folder.MODEL) or any(Store(path / name).steps() for name in STAGES)
        return [path] if saved else []
    runs = list(runs_in(path))
    if runs:
        return [one for one in runs if model_folder.is_model(one / run_folder.MODEL)]
    return [path] if any(path.iterdir()) else []


def is_watched(path: Path) -> bool:
    """Whether it is a run, a folder of runs, or an empty folder."""
    return run_folder.is_run(path) or (path.is_dir() and found_in(path) != [path])
