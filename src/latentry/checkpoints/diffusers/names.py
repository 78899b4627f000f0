"""Our parameter names and diffusers', one to one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from latentry.errors import LatentryError

Pairs = Iterable[tuple[str, str]]


class Names:
    """Pairs of name patterns (ours, diffusers'), read in both directions.

    `#` stands for a number, the same on both sides and in the same order; `~` for a level that we count from the
    highest resolution and diffusers from the lowest; `*` for `weight` or `bias`. levels: how many there are.
    """

    def __init__(self, pairs: Pairs, levels: int = 1) -> None:
        pairs = list(pairs)
        self.levels = levels
        self._to_theirs = [_rule(ours, theirs) for ours, theirs in pairs]
        self._to_ours = [_rule(theirs, ours) for ours, theirs in pairs]

    def theirs(self, name: str) -> str:
        """Diffusers' name of our parameter; `LatentryError` if there is none."""
        return self._translate(name, self._to_theirs, "diffusers")

    def ours(self, name: str) -> str:
        """Our name of diffusers' parameter; `LatentryError` if there is none."""
        return self._translate(name, self._to_ours, "latentry")

    def to_theirs(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors under diffusers' names."""
        return {self.theirs(name): tensor for name, tensor in tensors.items()}

    def to_ours(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors under our names."""
        return {self.ours(name): tensor for name, tensor in tensors.items()}

    def _translate(self, name: str, rules: list[tuple[re.Pattern[str], str]], kind: str) -> str:
        for pattern, template in rules:
            if match := pattern.fullmatch(name):
                groups = match.groupdict()
                if "level" in groups:
                    groups["level"] = str(self.levels - 1 - int(groups["level"]))
                return template.format(**groups)
        raise LatentryError(f"diffusers: the weight `{name}` has no {kind} name. The file is of another kind of model.")


def inside(ours: str, theirs: str, pairs: Pairs) -> list[tuple[str, str]]:
    """The pairs with a prefix on each side."""
    return [(f"{ours}.{a}", f"{theirs}.{b}") for a, b in pairs]


def modules(names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of modules that have a weight and perhaps a bias."""
    return [(f"{ours}.*", f"{theirs}.*") for ours, theirs in names.items()]


def _rule(source: str, target: str) -> tuple[re.Pattern[str], str]:
    """A pattern for `source`, and `target` as a format string of its groups."""
    count, again = iter(range(9)), iter(range(9))
    pattern = re.sub("#", lambda _: rf"(?P<n{next(count)}>\d+)", re.escape(source).replace(r"\#", "#"))
    pattern = pattern.replace(r"\~", "~").replace("~", r"(?P<level>\d+)").replace(r"\*", r"(?P<leaf>weight|bias)")
    template = re.sub("#", lambda _: f"{{n{next(again)}}}", target)
    return re.compile(pattern), template.replace("~", "{level}").replace("*", "{leaf}")
