"""The parts of Inception: a convolution with its norm, and blocks whose branches are stacked (Szegedy et al. 2015).

Branches are named as in the published file. Average pools leave the padding out of the count.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-3
Size = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution without bias, batch norm with fixed statistics, ReLU."""

    def __init__(self, inner: int, outer: int, size: Size, stride: int = 1, padding: Size = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outer, eps=EPS)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


def wide(inner: int, outer: int, length: int) -> Conv:
    """A convolution over 1 x length pixels, same size."""
    return Conv(inner, outer, (1, length), padding=(0, length // 2))


def tall(inner: int, outer: int, length: int) -> Conv:
    """A convolution over length x 1 pixels, same size."""
    return Conv(inner, outer, (length, 1), padding=(length // 2, 0))


def average(x: Tensor) -> Tensor:
    """Mean of 3x3 pixels, same size; at the border only of those that there are."""
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def greatest(x: Tensor) -> Tensor:
    """Maximum of 3x3 pixels, same size."""
    return functional.max_pool2d(x, 3, stride=1, padding=1)


class Block35(nn.Module):
    """At 35x35: 1x1, 5x5, two 3x3, pool; outer: 224 + pool channels."""

    def __init__(self, inner: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(inner, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(inner, 48, 1), Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inner, 64, 1), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(inner, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch1x1(x), five, three, self.branch_pool(average(x))), 1)


class To17(nn.Module):
    """35x35 to 17x17: 288 to 768 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = Conv(288, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(288, 64, 1), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat((self.branch3x3(x), three, functional.max_pool2d(x, 3, stride=2)), 1)


class Block17(nn.Module):
    """At 17x17: 1x1, 7x7 in two halves, twice that, pool; 768 channels. narrow: inside the branches."""

    def __init__(self, narrow: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(768, 192, 1)
        self.branch7x7_1, self.branch7x7_2 = Conv(768, narrow, 1), wide(narrow, narrow, 7)
        self.branch7x7_3 = tall(narrow, 192, 7)
        self.branch7x7dbl_1, self.branch7x7dbl_2 = Conv(768, narrow, 1), tall(narrow, narrow, 7)
        self.branch7x7dbl_3, self.branch7x7dbl_4 = wide(narrow, narrow, 7), tall(narrow, narrow, 7)
        self.branch7x7dbl_5 = wide(narrow, 192, 7)
        self.branch_pool = Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat((self.branch1x1(x), once, twice, self.branch_pool(average(x))), 1)


class To8(nn.Module):
    """17x17 to 8x8: 768 to 1280 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(768, 192, 1), Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = Conv(768, 192, 1), wide(192, 192, 7)
        self.branch7x7x3_3 = tall(192, 192, 7)
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat((three, seven, functional.max_pool2d(x, 3, stride=2)), 1)


class Block8(nn.Module):
    """At 8x8: 1x1, 3x3 in two halves side by side, that after a 3x3, pool; 2048 channels.

    maximum: whether the pool is a maximum, as in the last block of the published network, or an average.
    """

    def __init__(self, inner: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1, self.branch3x3_1 = Conv(inner, 320, 1), Conv(inner, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = wide(384, 384, 3), tall(384, 384, 3)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inner, 448, 1), Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = wide(384, 384, 3), tall(384, 384, 3)
        self.branch_pool = Conv(inner, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        once, twice = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        halves = (self.branch3x3_2a(once), self.branch3x3_2b(once))
        further = (self.branch3x3dbl_3a(twice), self.branch3x3dbl_3b(twice))
        pooled = self.branch_pool(greatest(x) if self.maximum else average(x))
        return torch.cat((self.branch1x1(x), *halves, *further, pooled), 1)
