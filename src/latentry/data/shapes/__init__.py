"""The procedural dataset `shapes`: one coloured shape on a muted background, with every truth about it known.

Image i of a seed depends on (seed, i) and the allowed pairs alone, so a longer set begins with the shorter one.
Pairs of colour and shape come in shuffled rounds of all allowed ones: any set is balanced.
"""

from latentry.data.shapes.figures import BACKGROUNDS, COLOURS, PAIRS, SHAPES, allowed, check_pairs, coverage
from latentry.data.shapes.folder import write
from latentry.data.shapes.one import Drawing, draw, generate, record

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "PAIRS",
    "SHAPES",
    "Drawing",
    "allowed",
    "check_pairs",
    "coverage",
    "draw",
    "generate",
    "record",
    "write",
]
