"""A diffusers config, key by key: what becomes our options, and what our networks are only one way."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from latentry.errors import UsageError

VERSION = "0.32.0"
"""Written as `_diffusers_version`: some pipelines change the settings of files that say older ones."""


@dataclass(frozen=True)
class Keys:
    """The config of one diffusers class.

    read: keys that become options of ours, each with diffusers' default. fixed: keys with the values that our networks
    equal, the one to write first; diffusers' defaults are among them. unused: keys that change no number; None where
    any other key does not, as in what transformers writes.
    """

    name: str
    read: Mapping[str, Any]
    fixed: Mapping[str, tuple[Any, ...]]
    unused: Collection[str] | None = ()

    def settings(self, config: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The values of `read`, lists as tuples. Raises UsageError naming a key or value that we cannot hold."""
        for key, value in config.items():
            if key in self.fixed and value not in self.fixed[key]:
                accepted = " or ".join(map(repr, self.fixed[key]))
                raise refused(where, f"{key} {value!r}", f"our networks take only {accepted}")
            if self.unused is None or key in self.read or key in self.fixed or key.startswith("_"):
                continue
            if key not in self.unused and value not in (None, False):
                raise refused(where, f"{key} {value!r}", f"{self.name} is known here without that key")
        return {key: plain(config.get(key, default)) for key, default in self.read.items()}

    def config(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The file's content for these values of `read`."""
        fixed = {key: accepted[0] for key, accepted in self.fixed.items()}
        values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        return {"_class_name": self.name, "_diffusers_version": VERSION, **values, **fixed}


def plain(value: Any) -> Any:
    """Lists as tuples, as options have them."""
    return tuple(plain(v) for v in value) if isinstance(value, list) else value


def refused(where: str, what: str, why: str) -> UsageError:
    """The error for a file that would not be the same model here."""
    return UsageError(f"{where}: {what}; {why}. Use this model with diffusers.")


def unheld(what: str, why: str, do: str) -> UsageError:
    """The error for a part of our model that diffusers cannot compute. what: its name and value. do: "" for nothing.

    Which format holds the model instead is said by `export_model`, which asks them.
    """
    return UsageError(f"export to diffusers: {what}; {why}." + (f" {do}." if do else ""))


def widths(channels: int, multipliers: Sequence[int], what: str) -> tuple[int, ...]:
    """`block_out_channels` of our widths. what: the name of the part, for errors."""
    if multipliers[0] != 1:
        raise unheld(
            f"{what}.multipliers {list(multipliers)}",
            "diffusers' first convolution is as wide as the first level, so the first multiplier must be 1",
            "",
        )
    return tuple(channels * multiplier for multiplier in multipliers)


def multipliers(block_widths: Sequence[int], where: str) -> dict[str, Any]:
    """`channels` and `multipliers` of `block_out_channels`."""
    if any(width % block_widths[0] for width in block_widths):
        raise refused(where, f"block_out_channels {list(block_widths)}", "our widths are multiples of the first one")
    return {"channels": block_widths[0], "multipliers": tuple(width // block_widths[0] for width in block_widths)}


def attending(types: Sequence[str], plain_type: str, other: str, where: str, key: str) -> tuple[int, ...]:
    """Downsampling factors of the levels whose block type is `other`; all else must be `plain_type`."""
    for name in types:
        if name not in (plain_type, other):
            raise refused(where, f"{key} with {name!r}", f"known: {plain_type!r}, {other!r}")
    return tuple(2**level for level, name in enumerate(types) if name == other)
