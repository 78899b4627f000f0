"""What the comparisons share: two things run in turn within one process, and the ratio of their medians.

Whatever else the machine does falls on both alike. Not a comparison itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from latentry import timing
from latentry.devices import synchronise

KERNELS = ("convolution", "mm", "scaled_dot_product", "linear_backward")
"""What names of torch's operators have in common that multiply matrices, convolve or attend on a CPU."""


def arguments(doc: str | None) -> argparse.Namespace:
    """pairs, steps, device and threads of the command line; sets the threads and says what is measured on."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="in each half of a pair")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    found = parser.parse_args()
    torch.set_num_threads(found.threads)
    print(f"torch {torch.__version__}, {found.device}, {found.threads} threads, {found.pairs} pairs")
    return found


def alternate(things: Mapping[str, Callable[[], object]], asked: argparse.Namespace) -> dict[str, float]:
    """Median seconds of one call of each, over alternating turns of `steps` calls after a turn that does not count."""
    wait = partial(synchronise, asked.device)
    timed = timing.alternate(things, rounds=asked.pairs, repeat=asked.steps, wait=wait)
    return {name: times.median for name, times in timed.items()}


def compare(
    what: str, things: Mapping[str, Callable[[], object]], asked: argparse.Namespace, wanted: float = 1.10
) -> None:
    """Print both medians and their ratio, which is to be at most `wanted`; things: `ours` and `theirs`.

    On a CPU also what the ratio would be if ours did nothing but what its kernels do, which are theirs too.
    """
    medians = alternate(things, asked)
    print(f"{what}:", ", ".join(f"{name} {taken:.4f} s" for name, taken in medians.items()), flush=True)
    ratio = medians["ours"] / medians["theirs"]
    print(f"{what}, ours / theirs: {ratio:.3f} (wanted: at most {wanted:.2f})", flush=True)
    if asked.device.type == "cpu":
        least = ratio * share_of_kernels(things["ours"])
        print(f"{what}, convolutions, products and attention of ours alone / theirs: {least:.3f}", flush=True)


def share_of_kernels(call: Callable[[], object]) -> float:
    """Of the time that a call takes, 0 to 1, that of torch's convolutions, matrix products and attention."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        call()
    rows = seen.key_averages()
    inside = [row for row in rows if row.key.startswith("aten::") and any(kernel in row.key for kernel in KERNELS)]
    return sum(row.self_cpu_time_total for row in inside) / sum(row.self_cpu_time_total for row in rows)


def same_size(ours: nn.Module, theirs: nn.Module) -> None:
    """Print the number of parameters; ends the comparison where the architectures are not equal."""
    mine, other = (sum(p.numel() for p in network.parameters()) for network in (ours, theirs))
    print(f"parameters: ours {mine:,}, theirs {other:,}")
    if mine != other:
        raise SystemExit("the two are not of one architecture; nothing is compared")


def weights_nowhere_zero(*networks: nn.Module) -> None:
    """Give both weights of one kind: some layers start at zero, and zeros can be quick to multiply."""
    for network in networks:
        torch.manual_seed(0)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.02)
