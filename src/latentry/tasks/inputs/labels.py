"""Labels that a classifier of noisy latents guides to, whatever the denoiser is conditioned on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import zip_longest

from torch import Tensor

from latentry.diffusion.contracts import Denoise
from latentry.diffusion.guidance.classifier import classifier
from latentry.errors import UsageError, shown
from latentry.models.model import Model
from latentry.tasks.sampling import Sampling, spread
from latentry.tasks.task import PerImage, Request

HOW = (
    "Train one: the command that made the run with `classifier={}` and --stage classifier trains it beside what is "
    "there; docs/recipes.md has its options. Or name a run that has one: --classifier PATH."
)


def towards_labels(request: Request, options: Sampling, scale: float | None, model: Model) -> Request:
    """The request, guided to its labels by the model's classifier, where it has one and is to be guided.

    scale: None is 1 for a label that the denoiser does not take, else 0. The classifier stands next to the denoiser,
    inside of what the task wraps around it. Raises UsageError for a scale without a classifier or a label, and for a
    label that the classifier does not know.
    """
    labels, asked = spread(options).get("label"), options.classifier_scale
    asked = None if asked == model.config.sample.classifier_scale else asked  # which goes for requests with labels
    if asked and model.classifier is None:
        raise UsageError(f"classifier_scale: {asked:g}; this model has no classifier. {HOW}")
    if asked and labels is None and model.classifier is not None:
        known = ", ".join(map(shown, model.classifier.options.names[:10]))
        raise UsageError(f"classifier_scale: {asked:g} without a label to guide to; give --label, as in {known}")
    taken = model.denoiser is not None and "label" in model.denoiser.conditioners
    strength = (0.0 if taken else 1.0) if scale is None else scale
    if options.classifier is not None and model.classifier is not None and (labels is None or not strength):
        known = ", ".join(map(shown, model.classifier.options.names[:10]))
        what = f"no label to guide to; give --label, as in {known}" if labels is None else "scale 0; give"
        how = "" if labels is None else " --classifier-scale, as in 2"
        raise UsageError(f"classifier: is named, and has no effect with {what}{how}")
    if model.classifier is None or labels is None or (taken and not strength):
        return request
    each = max(1, request.count // max(1, len(labels)))  # of a label: an original and its edit, frames
    labels = [label for label in labels for _ in range(each)]
    numbers, log_probability = model.classifier.numbers(labels), model.classifier.log_probability
    if not strength:
        return request

    def make(held: Tensor) -> Callable[[Denoise], Denoise]:
        return lambda denoise: classifier(denoise, log_probability(held), strength)

    told = [{"label": str(label), "classifier scale": f"{strength:g}"} for label in labels]
    none: Mapping[str, str] = {}
    facts = [{**own, **other} for own, other in zip_longest(told, request.facts, fillvalue=none)]
    return replace(request, wrap=(PerImage(make, numbers), *request.wrap), facts=facts)
