"""Sets of images with a planted truth: worse in a known way, by known steps."""

from __future__ import annotations

import json
import tarfile
from collections import Counter

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from tests.shared import SHARED

LABELS = ["food", "animals", "faces", "places"]
EACH = 30


def emoji(side: int) -> tuple[Tensor, list[str]]:
    """30 emoji of each of four labels over white, (120, 3, side, side) in [0, 1], and their labels."""
    taken, images, labels = Counter[str](), [], []
    with tarfile.open(SHARED / "data" / "emoji.tar") as archive:
        members = {member.name: member for member in archive.getmembers()}
        listed = archive.extractfile(members["emoji/metadata.jsonl"])
        assert listed is not None
        for line in listed.read().decode().splitlines():
            record = json.loads(line)
            label = record["label"]
            if label not in LABELS or taken[label] == EACH:
                continue
            taken[label] += 1
            file = archive.extractfile(members[f"emoji/{record['file_name']}"])
            assert file is not None
            picture = Image.open(file).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = (
                Image.alpha_composite(white, picture).convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
            )
            images.append(torch.from_numpy(np.array(picture)).movedim(-1, 0) / 255)
            labels.append(label)
    return torch.stack(images), labels


def blurred(images: Tensor, radius: float) -> Tensor:
    pictures = [Image.fromarray((x.movedim(0, -1) * 255).round().byte().numpy()) for x in images]
    soft = [np.array(picture.filter(ImageFilter.GaussianBlur(radius))) for picture in pictures]
    return torch.from_numpy(np.stack(soft)).movedim(-1, 1) / 255


def noisy(images: Tensor, deviation: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + deviation * noise).clamp(0, 1)
