"""Before anything is trained: can what the end of the run writes be written, with its real names?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from latentry import text
from latentry.checkpoints import durable, model_folder
from latentry.checkpoints.model_folder import ModelFolder
from latentry.checkpoints.run_folder import MODEL, RECIPE
from latentry.config import dump_yaml
from latentry.errors import UsageError, shown
from latentry.evaluation.card import SHEET, model_card
from latentry.training.plan.about import about
from latentry.training.plan.plan import Plan
from latentry.training.plan.recipes import dump


def rehearsed(make: Callable[[], Plan], recipe: str) -> Plan:
    """The plan, once the end of its run is rehearsed. recipe: names it where there is no plan."""
    try:
        plan = make()
    except UnicodeEncodeError as error:
        raise unwritable(error, recipe) from None
    if plan.world.chief:
        rehearse(plan)
    return plan


def rehearse(plan: Plan) -> None:
    """Write all that is text in a finished run into a temporary folder, with its real names, and read it again.

    For before anything is trained. Raises UsageError for what no text file can hold or no reader would give back,
    naming where it comes from.
    """
    parent = next(p for p in (plan.out, *plan.out.absolute().parents) if p.is_dir())
    config = plan.model.model_copy(update={"trained": {f"{name}_steps": 1 for name in plan.recipe.sections()}})
    notes = about(plan)
    card = model_card(config, notes, minutes=dict.fromkeys(notes.batches, 1.0), figures={"figure": 1.0}, sheet=True)
    written = ModelFolder(config, {}, plan.texts, card, pictures={SHEET: b""})
    with tempfile.TemporaryDirectory(prefix=".rehearsal-", dir=parent) as folder:
        try:
            model_folder.write(Path(folder) / MODEL, written)
            again = model_folder.read(Path(folder) / MODEL)
            durable.write(Path(folder) / RECIPE, [dump_yaml(dump(plan.recipe)).encode()])
        except UnicodeError as error:
            raise unwritable(error, plan.recipe.name) from None
        except UsageError as error:
            reason = str(error).replace(f"{folder}/", "")
            raise UsageError(f"recipe {shown(plan.recipe.name)}: the model could not be read again: {reason}") from None
    if (again.config, again.texts, again.card) != (config, dict(plan.texts), card):
        raise UsageError(
            f"recipe {shown(plan.recipe.name)}: the names and texts of this run do not come back from its files as "
            "they are. Look for unusual letters in labels, captions, `name` and `about`."
        )


def unwritable(error: UnicodeError, recipe: str) -> UsageError:
    """The error for a text that could not become bytes."""
    found = error.object if isinstance(error, UnicodeEncodeError) else ""
    where = error.start if isinstance(error, UnicodeEncodeError) else 0
    part = text.printable(found[max(0, where - 20) : where + 20])
    return UsageError(
        f'recipe {shown(recipe)}: "{shown(part)}" is not UTF-8, so that no text file can hold it; accepted: text that '
        "UTF-8 can hold, in labels, captions, names and the recipe. Change that text."
    )
