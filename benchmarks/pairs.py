"""What the comparisons share: two things run in turn within one process, and the ratio of their medians.

Whatever else the machine does falls on both alike. Not a comparison itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

from latentry import timing
from latentry.devices import synchronise


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
    """Print both medians and their ratio, which is to be at most `wanted`; things: `ours` and `theirs`."""
    medians = alternate(things, asked)
    print(f"{what}:", ", ".join(f"{name} {taken:.4f} s" for name, taken in medians.items()), flush=True)
    print(
        f"{what}, ours / theirs: {medians['ours'] / medians['theirs']:.3f} (wanted: at most {wanted:.2f})", flush=True
    )


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
