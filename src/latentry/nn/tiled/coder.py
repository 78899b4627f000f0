"""`Encoder` and `Decoder` of images of any size, exactly: statistics and attention are those of the whole image.

Each layer is done for the whole map before the next, so that the statistics of group normalisation are known when
they are needed, and no window needs more than one pixel around it. Between layers the map lies in a temporary file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from latentry.nn.coder import CoderDownsample, CoderLevel, CoderMiddle, CoderUpsample, Decoder, Encoder, PixelAttention
from latentry.nn.tiled.layers import attention, block, convolution, convolved, halving
from latentry.nn.tiled.moments import normalised
from latentry.nn.tiled.plane import Doubled, Folded, Plane, Room, Source, Unfolded
from latentry.windows import Window

Layer = Callable[[Plane], Plane]


class _Last:
    """Normalisation, SiLU and the last convolution of a map, computed when it is read."""

    def __init__(self, module: Encoder | Decoder, x: Plane) -> None:
        self.conv, self.x = module.conv_out, x
        self.channels, self.height, self.width = self.conv.out_channels, x.height, x.width
        self.change = normalised(module.norm_out, x.moments)

    @torch.no_grad()
    def read(self, window: Window) -> Tensor:
        return convolved(self.conv, self.x, window, self.change)


def encoded(encoder: Encoder, image: Source, room: Room) -> Source:
    """`encoder(image)` as a source."""
    folded = Folded(image, encoder.conv_in.patch) if encoder.conv_in.patch > 1 else image
    x = convolution(encoder.conv_in, folded, room.plane(encoder.conv_in.out_channels, folded.height, folded.width))
    layers: list[Layer] = []
    for level in encoder.levels:
        assert isinstance(level, CoderLevel)
        layers += _level(level)
        if isinstance(level.resample, CoderDownsample):
            layers.append(partial(halving, level.resample.conv))
    return _Last(encoder, _through([*layers, *_middle(encoder.middle)], x))


def decoded(decoder: Decoder, latent: Source, room: Room) -> Source:
    """`decoder(latent)` as a source; windows of it start at multiples of the decoder's patch."""
    conv = decoder.conv_in
    x = convolution(conv, latent, room.plane(conv.out_channels, latent.height, latent.width))
    layers = _middle(decoder.middle)
    for level in reversed(decoder.levels):
        assert isinstance(level, CoderLevel)
        layers += _level(level)
        if isinstance(level.resample, CoderUpsample):
            layers.append(partial(_doubling, level.resample.conv))
    last, patch = _Last(decoder, _through(layers, x)), decoder.conv_out.patch
    return Unfolded(last, patch) if patch > 1 else last


def _through(layers: Sequence[Layer], x: Plane) -> Plane:
    for done, layer in enumerate(layers, 1):
        x = layer(x)
        if x.room.progress is not None:
            x.room.progress(done, len(layers))
    return x


def _level(level: CoderLevel) -> list[Layer]:
    layers: list[Layer] = []
    for i, each in enumerate(level.blocks):
        layers.append(partial(block, each))  # type: ignore[arg-type]
        if len(level.attentions):
            layers.append(partial(attention, level.attentions[i]))  # type: ignore[arg-type]
    return layers


def _middle(middle: CoderMiddle) -> list[Layer]:
    has = isinstance(middle.attention, PixelAttention)
    between: list[Layer] = [partial(attention, middle.attention)] if has else []  # type: ignore[arg-type]
    return [partial(block, middle.block1), *between, partial(block, middle.block2)]


def _doubling(conv: nn.Conv2d, x: Plane) -> Plane:
    return convolution(conv, Doubled(x), x.room.plane(x.channels, 2 * x.height, 2 * x.width))
