"""Two processes compute what one does on the whole batch; else training would depend on how many there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from latentry.nn.patchgan import BatchNorm
from tests.unit.training.objective_parts import DISCRIMINATOR, NO_EFFECT, images, parts

Results = dict[str, Tensor]
KINDS = ("kl", "vq")


def normalised(rows: slice) -> tuple[Results, Results]:
    """Batch normalisation of some rows: (per row, per process)."""
    torch.manual_seed(0)
    norm = BatchNorm(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x, weight = 3.0 + 2.0 * torch.randn(5, 4, 3, 3), torch.randn(5, 4, 3, 3)
    x = x[rows].requires_grad_()
    out = norm(x)
    (out.tanh() * weight[rows]).sum().backward()
    assert x.grad is not None
    assert norm.weight.grad is not None
    return {"out": out.detach(), "x": x.grad}, {"gradient": norm.weight.grad, **norm.state_dict()}


def trained(kind: str, rows: slice) -> tuple[Results, Results]:
    """Both passes of one step on some images: (gradients, what must be the same in every process)."""
    options: dict[str, Any] = {"perceptual": 0.5, "kl_weight": 0.1, "codebook_weight": 1.0}
    p = parts(kind, discriminator=DISCRIMINATOR, **options)
    assert p.objective.discriminator is not None
    x = images(4)[rows]
    terms = p.generate(x)
    terms.loss.backward()
    p.objective.discriminator_loss(x, terms.reconstruction, 0).loss.backward()
    both = {**p.autoencoder(), **dict(p.objective.discriminator.named_parameters())}
    found = {n: q.grad for n, q in both.items() if q.grad is not None and not n.endswith(NO_EFFECT)}
    return found, {"weight": terms.weight, **dict(p.objective.discriminator.named_buffers())}


def worker(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = {"norm": normalised(slice(0, 2) if rank == 0 else slice(2, 5))}  # uneven on purpose
    for kind in KINDS:
        results[kind] = trained(kind, slice(2 * rank, 2 * rank + 2))
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[Results, Results]]]:
    folder = tmp_path_factory.mktemp("processes")
    spawn(worker, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_batch_normalisation(two: list[dict[str, tuple[Results, Results]]]) -> None:
    (rows, shared), (first, first_shared), (second, second_shared) = normalised(slice(5)), *(r["norm"] for r in two)
    for key, whole in rows.items():
        assert torch.allclose(torch.cat([first[key], second[key]]), whole, atol=1e-5), key
    assert torch.allclose(first_shared["gradient"] + second_shared["gradient"], shared["gradient"], atol=1e-5)
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.allclose(first_shared[key], shared[key], atol=1e-6), key
        assert torch.equal(first_shared[key], second_shared[key]), key


@pytest.mark.parametrize("kind", KINDS)
def test_first_gradients(kind: str, two: list[dict[str, tuple[Results, Results]]]) -> None:
    (whole, shared), (first, first_shared), (second, second_shared) = trained(kind, slice(4)), *(r[kind] for r in two)
    for key, value in shared.items():
        assert torch.equal(first_shared[key], second_shared[key]), key
        assert torch.allclose(first_shared[key], value, rtol=1e-5, atol=1e-6), key
    for key, gradient in whole.items():
        error = ((first[key] + second[key]) / 2.0 - gradient).abs().max()
        assert error <= 1e-5 * gradient.abs().max() + 1e-9, f"{key}: {error}"
