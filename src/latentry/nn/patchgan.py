"""The patch discriminator: judges overlapping patches of an image as real or reconstructed (Isola et al. 2017)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from latentry.devices import autocast
from latentry.errors import UsageError


class PatchDiscriminator(nn.Module):
    """Strided 4x4 convolutions with batch normalisation, one logit a patch.

    in_channels: of the image. channels: width of the first layer, doubled by each further one up to eightfold.
    layers: convolutions of stride 2 (3: patches of 70 pixels, 2: of 34). Images need sides of at least `smallest`.
    Initial weights are those of pix2pix: convolutions N(0, 0.02), normalisation scales N(1, 0.02).
    """

    def __init__(self, in_channels: int, channels: int = 64, layers: int = 3) -> None:
        super().__init__()
        self.smallest = 3 * 2**layers
        parts: list[nn.Module] = [nn.Conv2d(in_channels, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        width = channels
        for i in range(1, layers + 1):
            before, width = width, channels * min(2**i, 8)
            stride = 2 if i < layers else 1
            parts.append(nn.Conv2d(before, width, 4, stride=stride, padding=1, bias=False))
            parts += [BatchNorm(width), nn.LeakyReLU(0.2)]
        parts.append(nn.Conv2d(width, 1, 4, padding=1))
        self.layers = nn.Sequential(*parts)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 1, h, w) of images (B, C, H, W) in [-1, 1]; above 0 means real."""
        if min(x.shape[-2:]) < self.smallest:
            height, width = x.shape[-2:]
            raise UsageError(
                f"discriminator: images of {height}x{width} are too small; sides must be at least {self.smallest}. "
                "Use fewer discriminator layers, larger images, or no discriminator."
            )
        return self.layers(x)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose statistics, in training, are those of the batch over all processes.

    Alone it is torch's. With several processes the gradient flows through the shared statistics, so that training on
    k processes computes what one process would on the whole batch. (torch's SyncBatchNorm refuses CPU tensors.)
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and processes() > 1):
            return super().forward(x)
        with autocast(x.device, "fp32"):
            h = x.to(self.weight.dtype)  # (B, C, H, W)
            count = h.new_tensor([h.numel() / h.shape[1]])
            sums = sum_over_processes(torch.cat([h.sum(dim=(0, 2, 3)), count]))  # (C + 1,)
            mean, n = sums[:-1] / sums[-1], sums[-1].detach()
            h = h - mean[:, None, None]
            variance = sum_over_processes(h.square().sum(dim=(0, 2, 3))) / n  # (C,)
            self._remember(mean.detach(), variance.detach() * n / (n - 1))
            scale = self.weight * (variance + self.eps).rsqrt()
            return (h * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    def _remember(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased_variance, self.momentum)
        self.num_batches_tracked.add_(1)


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        x = x.clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous().clone()
        dist.all_reduce(gradient)
        return gradient


def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""
    return _Sum.apply(x)  # type: ignore[no-untyped-call]


def processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
