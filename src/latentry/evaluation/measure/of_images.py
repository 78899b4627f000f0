"""Pictures of a folder, made anyhow, against those of another."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from latentry.evaluation.facts import model_facts
from latentry.evaluation.images.sets import ImageSet, folder_channels, folder_set, split_set
from latentry.evaluation.images.source import images_of
from latentry.evaluation.measure.networks import features_of, own
from latentry.evaluation.measure.parts import refuse_few, refuse_none
from latentry.evaluation.measure.setting import Found, Setting, preprocessing_of
from latentry.evaluation.watching.copies import Copying, judged
from latentry.pipeline import Pipeline

SHOWN = 64


def measure_images(
    folder: Path, data: Path, setting: Setting, pipe: Pipeline | None = None, path: Path | None = None
) -> Found:
    """Every distance of two folders. pipe: a model, at `path`, as which both are read, and whose first stage measures.

    Raises UsageError for folders of other channels, and for fewer images than were asked for.
    """
    options = setting.options
    if pipe is None:
        channels = folder_channels(folder, data)
        how = (channels, options.size, options.crop, setting.report)
        real, other = folder_set(data, *how), folder_set(folder, *how)
    else:
        real, other = (
            split_set(
                images_of(pipe, path or folder, root, "all", setting.report, setting.read), f"the images of {root}"
            )
            for root in (data, folder)
        )
    refuse_few(other.count, options.samples, str(folder))
    real, other = real.first(options.reference or real.count), other.first(options.samples or other.count)
    first_stage = None if pipe is None else partial(own, pipe.autoencoder, pipe.encode)
    networks, notes = features_of(
        options.features,
        first_stage,
        real.channels,
        alpha=real.alpha,
        resize=options.resize,
        device=setting.device,
    )
    bench = setting.bench(networks, notes)
    copying = Copying(networks[0], alpha=real.alpha) if "copies" in setting.names else None
    ours = bench.reference(real, [copying.at_training] if copying else [])
    watches = [copying.at_samples] if copying else []
    theirs = bench.statistics(other, other.count, other.at_once, other.words, watches)
    refuse_none(theirs[0].count, str(folder))
    refuse_none(ours[0].count, str(data))
    found = Found(f"{theirs[0].count} images of {folder}", f"{ours[0].count} images of {data}")
    if setting.processes.chief:
        found.figures = bench.compared(ours, theirs)
        found.sheets = {"samples": sheet(other)}
        found.notes = [*_sizes(other, real, setting)]
    if copying:
        judged(copying, found, real, other.one, bench, other.paths)
    found.notes += bench.notes
    found.preprocessing = preprocessing_of(networks, {"images": other, "reference": real})
    if pipe is not None:
        found.model = model_facts(pipe, path or folder)
    return found


def sheet(images: ImageSet) -> tuple[torch.Tensor, int, bool]:
    """The first images on one sheet; those of the first one's size, where there are several."""
    shown = [image for image in map(images.one, range(min(SHOWN, images.count))) if image is not None]
    alike = [image for image in shown if image.shape == shown[0].shape]
    return torch.stack(alike), 0, images.alpha


def _sizes(other: ImageSet, real: ImageSet, setting: Setting) -> list[str]:
    """A note where both folders hold images of other sizes: the difference is then one of sizes."""
    if setting.options.size is not None:
        return []
    first = [image for image in (other.one(0), real.one(0)) if image is not None]
    sizes = ["x".join(map(str, image.shape[1:])) for image in first]
    if len(set(sizes)) < 2:
        return []
    return [
        f"sizes: the first image of both folders is {' and '.join(sizes)}; sharpness that comes of the size counts as "
        "a difference. Bring both to one with --size."
    ]
