"""One forward of a denoiser of LDM-4 size, ours beside diffusers': `python benchmarks/unet_forward.py [--pairs 5]`.

274M parameters (224 channels times 1, 2, 3, 4; attention in heads of 32 at factors 2, 4, 8), latent 3x64x64, batch 1.
The two run in turn within one process, so that what else the machine does falls on both alike; the ratio is that of
their medians. Two comparisons: plain float32, and the best of both memory formats in float32 and bfloat16 autocast.
Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn

from latentry.nn.unet import UNet

Forward = Callable[[Tensor, Tensor], Tensor]
FORMATS = {"channels-first": torch.contiguous_format, "channels-last": torch.channels_last}
MODES = list(itertools.product(("fp32", "bf16"), FORMATS))


def ours() -> UNet:
    return UNet(
        in_channels=3,
        out_channels=3,
        channels=224,
        multipliers=(1, 2, 3, 4),
        attention=(8, 4, 2),
        head_channels=32,
    )


def theirs() -> Any:
    return UNet2DModel(  # type: ignore[no-untyped-call]
        sample_size=64,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(224, 448, 672, 896),
        down_block_types=("DownBlock2D", *["AttnDownBlock2D"] * 3),
        up_block_types=(*["AttnUpBlock2D"] * 3, "UpBlock2D"),
        attention_head_dim=32,
    )


def forwards(device: torch.device) -> dict[str, tuple[nn.Module, Forward]]:
    """Both networks with weights that are nowhere zero, and how each is called."""
    mine, other = ours(), theirs()
    networks: list[nn.Module] = [mine, other]
    for network in networks:
        torch.manual_seed(0)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.02)
        network.to(device).eval()
    return {"ours": (mine, mine), "theirs": (other, lambda x, t: other(x, t, return_dict=False)[0])}


def once(network: nn.Module, forward: Forward, mode: tuple[str, str], x: Tensor, t: Tensor) -> float:
    """Seconds of one forward. The memory format is set beforehand, outside the time taken."""
    precision, layout = mode
    network.to(memory_format=FORMATS[layout])  # type: ignore[call-overload]
    x = x.contiguous(memory_format=FORMATS[layout])
    with torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        wait(x.device)
        start = time.perf_counter()
        forward(x, t)
        wait(x.device)
        return time.perf_counter() - start


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(pairs: int, device: torch.device) -> dict[tuple[str, str], dict[str, float]]:
    """Median seconds by mode and network, each of `pairs` alternating runs after one that does not count."""
    networks = forwards(device)
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, (network, _) in networks.items()}
    print("parameters:", ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    x, t = torch.randn(1, 3, 64, 64, device=device), torch.full((1,), 500.0, device=device)
    medians = {}
    for mode in MODES:
        times: dict[str, list[float]] = {name: [] for name in networks}
        for _ in range(pairs + 1):
            for name, (network, forward) in networks.items():
                times[name].append(once(network, forward, mode, x, t))
        medians[mode] = {name: statistics.median(seconds[1:]) for name, seconds in times.items()}
        print(" ".join(mode), " ".join(f"{name} {s:.4f} s" for name, s in medians[mode].items()), flush=True)
    return medians


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.device}, {arguments.threads} threads, {arguments.pairs} pairs")
    medians = measure(arguments.pairs, arguments.device)
    plain = medians["fp32", "channels-first"]
    best = {name: min((m[name], " ".join(mode)) for mode, m in medians.items()) for name in plain}
    print(f"fp32, ours / theirs: {plain['ours'] / plain['theirs']:.3f} (wanted: at most 1.10)")
    print(f"best mode: ours {best['ours'][1]}, theirs {best['theirs'][1]}")
    print(f"best mode, ours / theirs: {best['ours'][0] / best['theirs'][0]:.3f} (wanted: at most 1.00)")


if __name__ == "__main__":
    main()
