"""The first stage's objective: each term reaches what it should train, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from latentry.errors import UsageError
from latentry.nn.quantise import Quantised
from latentry.training.objectives import AdversarialObjective, ObjectiveOptions, PerceptualOptions, perceptual
from latentry.training.objectives.gradients import once
from tests.unit.training.objective_parts import DISCRIMINATOR, NO_EFFECT, Parts, images, parts

kinds = pytest.mark.parametrize("kind", ["kl", "vq"])


def gradients(p: Parts) -> dict[str, Tensor]:
    named = p.autoencoder()
    live = {n: q for n, q in named.items() if not n.endswith(NO_EFFECT)}
    return {n: torch.zeros_like(q) if q.grad is None else q.grad.clone() for n, q in live.items()}


def backward(p: Parts, **more: Any) -> dict[str, Tensor]:
    p.generate(images(), **more).loss.backward()
    return gradients(p)


TERMS = [
    ("perceptual", {"perceptual": 1.0}),
    ("kl", {"kl_weight": 1.0}),
    ("codebook", {"codebook_weight": 1.0}),
    ("adversarial", {"discriminator": DISCRIMINATOR}),
    ("adversarial, fixed weight", {"discriminator": DISCRIMINATOR | {"adaptive": False, "weight": 2.0}}),
]


@pytest.mark.parametrize(("term", "options"), TERMS, ids=[t for t, _ in TERMS])
@kinds
def test_each_term_reaches_the_encoder(kind: str, term: str, options: dict[str, Any]) -> None:
    """Its gradient there is the difference that the term makes; the perceptual one was cut in some trainers."""
    if (term, kind) in (("kl", "vq"), ("codebook", "kl")):
        pytest.skip("a term of the other kind")
    plain, with_term = backward(parts(kind)), backward(parts(kind, **options))
    change = {n: (with_term[n] - plain[n]).norm() / (plain[n].norm() + 1e-12) for n in plain}
    assert change["encoder.conv_in.weight"] > 1e-3
    if term not in ("kl", "codebook"):
        assert change["decoder.conv_out.weight"] > 1e-3
    if term == "codebook":
        assert with_term["quantiser.codebook"].any()


@kinds
def test_gradient_is_that_of_the_written_loss(kind: str) -> None:
    """All terms at once, against one plain backward through everything with the same adaptive weight."""
    options: dict[str, Any] = {
        "perceptual": 0.7,
        "kl_weight": 0.1,
        "codebook_weight": 1.0,
        "discriminator": DISCRIMINATOR,
    }
    ours = parts(kind, log_variance_init=0.2, learn_log_variance=True, **options)
    plain = copy.deepcopy(ours)
    terms = ours.generate(images())
    terms.loss.backward()

    x, objective = images(), plain.objective
    latent = plain.latent(x)
    z = latent.z if isinstance(latent, Quantised) else latent.mean
    r = plain.decoder(z)
    assert objective.perceptual is not None
    assert objective.discriminator is not None
    error = (r - x).abs() + 0.7 * objective.perceptual(x, r).view(-1, 1, 1, 1)
    likelihood = error / objective.log_variance.exp() + objective.log_variance
    nll = likelihood.sum() / len(x) if kind == "kl" else likelihood.mean()
    regulariser = latent.codebook_loss if isinstance(latent, Quantised) else 0.1 * latent.kl().mean()
    loss = nll + regulariser - terms.weight * objective.discriminator(r).mean()
    loss.backward()

    assert terms.loss.item() == pytest.approx(loss.item(), rel=1e-5)
    for name, expected in gradients(plain).items():
        bound = 1e-5 * expected.abs().max() + 1e-8
        assert (gradients(ours)[name] - expected).abs().max() <= bound, name
    learned, written = ours.objective.log_variance.grad, objective.log_variance.grad
    assert learned is not None
    assert written is not None
    assert torch.allclose(learned, written, rtol=1e-5)


@kinds
def test_neither_side_leaves_gradients_in_the_other(kind: str) -> None:
    p = parts(kind, perceptual=1.0, discriminator=DISCRIMINATOR)
    assert p.objective.discriminator is not None
    p.generate(images()).loss.backward()
    assert all(q.grad is None for q in p.objective.discriminator.parameters())
    for q in p.autoencoder().values():
        q.grad = None
    reconstruction = p.decoder(p.encoder(images())[:, :3])  # with a graph, as a careless trainer would pass it
    p.objective.discriminator_loss(images(), reconstruction, 0).loss.backward()
    assert all(q.grad is None for q in p.autoencoder().values())
    assert all(q.grad is not None for q in p.objective.discriminator.parameters())


def test_the_discriminator_rests_before_its_start() -> None:
    p = parts(discriminator=DISCRIMINATOR | {"start": 10, "factor": 0.5})
    assert p.objective.discriminator is not None
    before = copy.deepcopy(p.objective.discriminator.state_dict())
    early = backward(p, step=9)
    assert p.objective.factor(9) == 0.0
    assert p.objective.factor(10) == 0.5
    assert all(torch.equal(a, b) for a, b in zip(before.values(), p.objective.discriminator.state_dict().values()))
    plain = backward(parts())
    assert all(torch.equal(early[n], plain[n]) for n in plain)
    assert p.generate(images(), step=9, early=True).adversarial != 0.0


def test_the_discriminator_learns_before_its_term_counts_and_the_term_rises() -> None:
    """A term of its full weight from a discriminator that knows nothing yet costs decibels at once."""
    options = DISCRIMINATOR | {"start": 10, "lead": 4, "ramp": 5, "factor": 0.5}
    objective = parts(discriminator=options).objective
    assert [objective.learns(step) for step in (5, 6, 9, 10)] == [False, True, True, True]
    assert [objective.factor(step) for step in (6, 9, 10, 12, 14, 99)] == pytest.approx([0, 0, 0.1, 0.3, 0.5, 0.5])
    leading = parts(discriminator=options)
    alone = backward(leading, step=9)
    plain = backward(parts())
    assert all(torch.equal(alone[n], plain[n]) for n in plain)  # nothing of it reaches the autoencoder yet
    terms = leading.objective.discriminator_loss(images(), torch.zeros_like(images()), 9)
    assert terms.loss.item() == pytest.approx(0.5 * hinge_by_hand(leading.objective, images()).item(), rel=1e-5)


def hinge_by_hand(objective: AdversarialObjective, x: torch.Tensor) -> torch.Tensor:
    assert objective.discriminator is not None
    real, fake = objective.discriminator(x), objective.discriminator(torch.zeros_like(x))
    return 0.5 * (torch.relu(1 - real).mean() + torch.relu(1 + fake).mean())


@pytest.mark.parametrize("sums", [False, True])
def test_the_adaptive_weight_is_bounded_for_either_reduction(sums: bool) -> None:
    """A discriminator without a gradient was scaled up to the likelihood's size: weights of thousands."""
    bounded = DISCRIMINATOR | {"max_weight": 0.1}
    values = images()[0].numel() if sums else 1
    p = parts(sums=sums, discriminator=bounded)
    assert p.objective.discriminator is not None
    for weight in p.objective.discriminator.parameters():
        weight.data *= 1e-3  # tells nothing
    free = parts(sums=sums, discriminator=DISCRIMINATOR)
    free.objective.load_state_dict(p.objective.state_dict())
    assert free.generate(images()).weight > values
    assert p.generate(images()).weight == pytest.approx(0.1 * values)


def test_log_variance_is_trained_only_if_asked() -> None:
    for asked in (False, True):
        p = parts(learn_log_variance=asked)
        backward(p)
        trained = [n for n, q in p.objective.named_parameters() if q.requires_grad]
        assert trained == (["log_variance"] if asked else [])
        assert (p.objective.log_variance.grad is not None) == asked


def test_trained_log_variance_ends_at_the_log_of_the_error() -> None:
    """error / exp(v) + v is least at v = log(error): the learned number means something."""
    p = parts("vq", learn_log_variance=True)
    optimiser = torch.optim.SGD([p.objective.log_variance], lr=0.5)
    for _ in range(15):
        optimiser.zero_grad()
        terms = p.generate(images())
        terms.loss.backward()
        optimiser.step()
    assert p.objective.log_variance.item() == pytest.approx(terms.pixel.log().item(), abs=1e-3)


@kinds
def test_reduction_scales_all_terms_alike(kind: str) -> None:
    """The weights mean the same whether an image's values are summed or averaged."""
    options: dict[str, Any] = {"kl_weight": 0.3, "codebook_weight": 2.0}
    total, mean = (backward(parts(kind, sums=sums, **options)) for sums in (True, False))
    for name, gradient in total.items():
        error = (mean[name] * images()[0].numel() - gradient).abs().max()
        assert error <= 1e-5 * gradient.abs().max(), name


def test_half_precision_features_give_a_full_precision_loss() -> None:
    p = parts("vq", perceptual=1.0, discriminator=DISCRIMINATOR)
    full = p.generate(images())
    with torch.autocast("cpu", torch.bfloat16):
        half = p.generate(images())
    assert half.loss.dtype == half.reconstruction.dtype == half.weight.dtype == torch.float32
    assert half.loss.item() == pytest.approx(full.loss.item(), rel=0.05)
    half.loss.backward()
    assert all(q.grad is None or q.grad.dtype == torch.float32 for q in p.autoencoder().values())


def test_validation_needs_no_graph() -> None:
    with torch.no_grad():
        terms = parts(discriminator=DISCRIMINATOR).generate(images())
    assert terms.weight == 0.0  # as published: the total of validation has no adversarial term
    assert torch.isclose(terms.loss, terms.nll)


def test_once_is_paid_once() -> None:
    calls = []

    def square(x: Tensor) -> Tensor:
        x.register_hook(lambda _: calls.append(1))
        return x.square().sum()

    x = torch.tensor([1.0, 2.0], requires_grad=True)
    value = once(square, x)
    first = torch.autograd.grad(3.0 * value, x, retain_graph=True)[0]
    second = torch.autograd.grad(value, x)[0]
    assert (first.tolist(), second.tolist(), value.item(), len(calls)) == ([6.0, 12.0], [2.0, 4.0], 5.0, 1)


def test_state_is_the_discriminator_and_the_log_variance() -> None:
    """Perceptual weights are hundreds of megabytes that a checkpoint must not repeat; they still move with the rest."""
    objective = parts(perceptual=1.0, discriminator=DISCRIMINATOR).objective
    assert {k.split(".")[0] for k in objective.state_dict()} == {"discriminator", "log_variance"}
    objective.double()
    assert objective.perceptual is not None
    assert all(q.dtype == torch.float64 for q in objective.perceptual.parameters())


@pytest.mark.parametrize("loss", ["hinge", "vanilla"])
def test_a_discriminator_learns_to_tell(loss: str) -> None:
    p = parts(discriminator=DISCRIMINATOR | {"loss": loss})
    assert p.objective.discriminator is not None
    optimiser = torch.optim.Adam(p.objective.discriminator.parameters(), 1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        terms = p.objective.discriminator_loss(images(), images() * 0.2, 0)
        terms.loss.backward()
        optimiser.step()
    assert terms.real > 0.3 > -0.3 > terms.fake


def test_options() -> None:
    assert ObjectiveOptions.model_validate({"perceptual": "none"}).perceptual.net == "none"
    assert ObjectiveOptions.model_validate({"discriminator": {}}).discriminator is not None
    with pytest.raises(ValidationError, match="squeezenet"):
        ObjectiveOptions.model_validate({"perceptual": "vgg19"})


def test_bands_that_cannot_be_shown_are_named() -> None:
    assert perceptual.build(PerceptualOptions(net="none"), 5) is None
    with pytest.raises(UsageError, match="5 channels"):
        perceptual.build(PerceptualOptions(), 5)
    with pytest.raises(UsageError, match="bands go from 0 to 4"):
        perceptual.build(PerceptualOptions(bands=(0, 1, 5)), 5)
