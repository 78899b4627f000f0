"""The procedural data: coloured shapes on muted backgrounds, with every truth about them known.

`shapes` has one shape an image; pairs of colour and shape come in shuffled rounds of all allowed ones: any set is
balanced. Scenes have one or two. Image i of a seed depends on (seed, i) and the allowed pairs alone, so a longer set
begins with the shorter one.
"""

from latentry.data.shapes.figures import BACKGROUNDS, COLOURS, PAIRS, SHAPES, allowed, check_pairs, coverage
from latentry.data.shapes.folder import write
from latentry.data.shapes.one import Drawing, draw, generate
from latentry.data.shapes.scenes import Scene, Thing, draw_scene, generate_scenes

__all__ = [
    "BACKGROUNDS",
    "COLOURS",
    "PAIRS",
    "SHAPES",
    "Drawing",
    "Scene",
    "Thing",
    "allowed",
    "check_pairs",
    "coverage",
    "draw",
    "draw_scene",
    "generate",
    "generate_scenes",
    "write",
]
