"""How large the values of options may be: what the largest machine could still want, and nothing beyond.

A number that no machine could serve is refused where it is read: built first, it takes all memory or hours until an
error comes. `tests/unit/test_bounds.py` holds that every option has a bound.
"""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, MaxLen

LONGEST_TEXT = 100_000
"""Letters of any text of an options class; `Options` holds it."""
LONGEST_PROMPT = 100_000
MOST_PARAMETERS = 50_000_000_000
MOST_LAYERS = 10_000
MOST_IMAGES = 1_000_000
"""Images of one request."""
MOST_VALUES = 1 << 35
"""Numbers that are worked on at once: of a batch, or of all images of a request; 128 GiB in fp32."""
LARGEST_SEED = (1 << 63) - 1
LARGEST_SIDE = 131_072
"""Of an image to draw: more than ten gigapixels, decoded in tiles."""
Side = Annotated[int, Gt(0), Le(16_384)]
"""Of the images that a model is trained on, each whole in memory."""

Name = Annotated[str, MaxLen(1000)]
"""A name of a field, class, file."""
Steps = Annotated[int, Gt(0), Le(1_000_000_000)]
StepsOrNone = Annotated[int, Ge(0), Le(1_000_000_000)]
Batch = Annotated[int, Gt(0), Le(1_000_000)]
Count = Annotated[int, Gt(0), Le(1_000_000)]
Workers = Annotated[int, Ge(0), Le(1024)]
Width = Annotated[int, Gt(0), Le(65_536)]
"""Channels of an image, a latent, a layer."""
Multiplier = Annotated[int, Gt(0), Le(1024)]
Multipliers = Annotated[tuple[Multiplier, ...], MaxLen(12)]
"""Of each level; twelve halve an image 2048 times."""
Factors = Annotated[tuple[Annotated[int, Gt(0), Le(1 << 20)], ...], MaxLen(20)]
Blocks = Annotated[int, Gt(0), Le(256)]
Layers = Annotated[int, Gt(0), Le(1000)]
Depth = Annotated[int, Ge(0), Le(256)]
Heads = Annotated[int, Gt(0), Le(4096)]
Length = Annotated[int, Gt(0), Le(65_536)]
"""Tokens."""
Rows = Annotated[int, Gt(0), Le(1 << 22)]
"""Of a table: codes, classes, a vocabulary."""
Times = Annotated[int, Ge(2), Le(100_000)]
"""Noise levels T."""
Seed = Annotated[int, Ge(0), Le(LARGEST_SEED)]
Rate = Annotated[float, Gt(0), Le(1000)]
Weight = Annotated[float, Ge(0), Le(1e9)]
Guidance = Annotated[float, Ge(-1000), Le(1000)]
Share = Annotated[float, Ge(0), Le(1)]
Reuse = Annotated[int, Ge(1), Le(1000)]
"""Evaluations of a network that share features."""
Whole = Annotated[int, Ge(-(1 << 63)), Le(1 << 63)]
"""Any whole number of metadata."""
Value = Annotated[float, Ge(-1e39), Le(1e39)]
"""Any value of an image, of which the widest are fp32."""
