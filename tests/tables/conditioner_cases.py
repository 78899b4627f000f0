"""Every entry of CONDITIONERS with small options and values, for the sweeps."""

from __future__ import annotations

from typing import Any

import torch

from latentry.conditioning import CONDITIONERS, BuildContext
from latentry.kinds import KindOptions
from tests.unit.conditioning.small_clip import clip_text

CAPTIONS = [f"a {colour} {shape} on white" for colour in ("red", "green") for shape in ("circle", "square")]
CONTEXT = BuildContext(
    labels=["animals", "food", "travel"],
    captions=CAPTIONS,
    objects=lambda: [("circle", "star"), ()],
    files={"clip_tokenizer.json": clip_text(12)},
    encode=lambda images: torch.nn.functional.avg_pool2d(images, 4),
    factor=4,
)


def arrays(*shape: int) -> list[torch.Tensor]:
    """Three tensors in [-1, 1]."""
    return list(torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1)


MASKS = arrays(1, 16, 16)

# By entry: small options, three good values that differ, and one that cannot be encoded.
CASES: list[tuple[str, dict[str, Any], list[Any], Any]] = [
    ("class_label", {"width": 6, "via": "context"}, ["animals", 2, "1"], "animls"),
    ("class_label", {"width": 6, "via": "vector"}, ["animals", 2, "1"], 3),
    ("class_label", {"width": 6, "classes": 4, "null": 3}, [0, 1, 2], 4),
    ("text", {"width": 8, "layers": 1, "heads": 2, "head_channels": 4, "length": 12}, CAPTIONS[:3], 5),
    ("clip_text", {"width": 8, "layers": 1, "heads": 2, "length": 12}, CAPTIONS[:3], 5),
    (
        "layout",
        {"width": 8, "layers": 1, "heads": 2, "head_channels": 4, "length": 6, "vocabulary": 20},
        [[1, 2, 3], [{"label": "circle", "bbox": [0, 0, 0.5, 1]}], torch.tensor([7])],
        [20],
    ),
    *(
        (
            "layout",
            {"width": 8, "layers": 1, "heads": 2, "head_channels": 4, "objects": 2, "vocabulary": 20, "pooled": pooled},
            [[1, 2, 3], [{"label": "circle", "bbox": [0, 0, 0.5, 1]}], torch.tensor([7])],
            [20],
        )
        for pooled in ("each", "sum")
    ),
    (
        "semantic",
        {"classes": 5, "channels": 2},
        [m.long() % 5 for m in torch.randn(3, 16, 16) * 9],
        torch.ones(4, 8, 8),
    ),
    (
        "semantic",
        {"classes": 5, "channels": 2, "rescale": "conv"},
        [m.long() % 5 for m in torch.randn(3, 16, 16) * 9],
        torch.ones(4, 8, 8),
    ),
    ("semantic", {"classes": 2, "channels": None, "stages": 1}, arrays(2, 8, 8), torch.ones(2, 8)[0]),
    (
        "semantic",
        {"classes": 3, "channels": 2, "stages": 1, "unlabelled": 255},
        [torch.tensor([[k, 255], [2, 1]]).repeat(4, 4) for k in range(3)],
        torch.full((8, 8), 3),
    ),
    ("image", {"channels": 3}, arrays(3, 8, 8), torch.ones(3, 4, 4)),
    ("image", {"channels": 3, "factor": 2, "degradation": "bsr"}, arrays(3, 8, 8), torch.ones(3, 7, 8)),
    ("image", {"channels": 3, "factor": 8, "degradation": "bsr_light"}, arrays(3, 8, 8), torch.ones(1, 8, 8)),
    ("masked", {"latent_channels": 3}, list(zip(arrays(3, 16, 16), MASKS, strict=True)), (torch.ones(3, 16, 16), 1)),
    ("masked", {"through": "pixels"}, list(zip(arrays(3, 16, 16), MASKS, strict=True)), (torch.ones(3, 16, 16), 1)),
    ("grey", {"factor": 2}, arrays(1, 8, 8), torch.ones(3, 8, 8)),
    ("embedding", {"width": 6}, arrays(4, 6), torch.ones(4, 5)),
    ("embedding", {"width": 6, "via": "vector", "hidden": 5}, arrays(6), torch.ones(2, 6)),
]


def make(name: str, options: dict[str, Any]) -> KindOptions:
    return CONDITIONERS[name].options(**options)
