"""Which images a folder itself keeps from training: `train/`, `test/`, ... at its top, or a field `split`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from latentry.data.folders.record import Record, Remarks
from latentry.data.options import DataOptions
from latentry.text import one_line

FIELD = "split"
TRAIN = ("train", "training")
OTHERS = ("val", "valid", "validation", "test", "testing", "dev", "eval", "evaluation", "holdout", "held_out")
_AROUND = re.compile(r"[ _-]?(sets?|data|images?|imgs?|splits?|samples?)?[ _-]?\d{0,4}")
"""What names of splits have behind them: train2017, training_set, test-images, val_2."""
_OFF = "data.splits: off turns this off"


def is_train(name: str) -> bool:
    """Whether a split of this name is trained on; any other is kept from training."""
    return _named(name, TRAIN)


def _is_split(name: str) -> bool:
    return _named(name, (*TRAIN, *OTHERS))


def _named(name: str, words: Iterable[str]) -> bool:
    folded = name.lower()
    return any(folded.startswith(word) and _AROUND.fullmatch(folded, len(word)) for word in words)


def mark(records: Sequence[Record], options: DataOptions | None, remarks: Remarks) -> list[Record]:
    """The records with the split that the folder gives them, and with where their class folders begin.

    Folders at the top are splits if one is called train and another test, val, validation, ...; a field `split` is one
    if it has such values. A recipe that itself chooses by that folder or field (where, split_by, label) is heeded.
    """
    if options is not None and options.splits == "off":
        return list(records)
    records = list(records) if _chosen_by("folder", options) else _by_folder(records, remarks)
    return records if _chosen_by(FIELD, options) else _by_field(records, remarks)


def _chosen_by(field: str, options: DataOptions | None) -> bool:
    if options is None:
        return False
    if field == "folder":
        listed = options.listed(field) if field in options.where else []
        return any(isinstance(value, str) and _is_split(value) for value in listed)
    return field in options.where or field in (options.split_by, options.label, options.balance, options.text)


def _by_folder(records: Sequence[Record], remarks: Remarks) -> list[Record]:
    tops = {record.path.split("/", 1)[0] for record in records if "/" in record.path}
    found = {top for top in tops if _is_split(top)}
    real = any(map(is_train, found)) and not all(map(is_train, found))
    loose = len(found) < len(tops) or any("/" not in record.path for record in records)
    if not found or (loose and not real):
        return list(records)
    marked = []
    for record in records:
        top = record.path.split("/", 1)[0]
        inner = "/" in record.path and top in found
        marked.append(record._replace(split=top if real else "", above=f"{top}/") if inner else record)
    if real:
        remarks.read.append(f"the folders at the top are splits: {_shares(marked)}; {_OFF}")
    else:
        names = ", ".join(sorted(found))
        remarks.read.append(f"the folder {names} at the top is no class: classes are the folders in it; {_OFF}")
    return marked


def _by_field(records: Sequence[Record], remarks: Remarks) -> list[Record]:
    values = [record.fields.get(FIELD) for record in records]
    names = {value for value in values if isinstance(value, str) and value}
    if not any(map(is_train, names)) or all(map(is_train, names)):
        if names:
            shown = ", ".join(sorted(map(one_line, names))[:5])
            remarks.left.append(
                f"the field `split` of the metadata, which divides nothing into train and others ({shown})"
            )
        return list(records)
    marked = [
        record._replace(split=value) if isinstance(value, str) and value else record
        for record, value in zip(records, values)
    ]
    remarks.read.append(f"the field `split` of the metadata is used: {_shares(marked)}; {_OFF}")
    return marked


def _shares(records: Iterable[Record]) -> str:
    """`train (12 images) is trained on; test (6) is kept from training and measured on`."""
    counts = Counter(record.split for record in records)
    rest = counts.pop("", 0)
    kept = [f"{one_line(name)} ({count})" for name, count in sorted(counts.items()) if not is_train(name)]
    used = [f"{one_line(name)} ({count})" for name, count in sorted(counts.items()) if is_train(name)]
    text = f"{', '.join(used)} trained on; {', '.join(kept)} kept from training and measured on"
    return f"{text}; {rest} other images by data.held_out" if rest else text
