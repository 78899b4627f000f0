"""`Encoder` and `Decoder` of images of any size, exactly: statistics and attention are those of the whole image.

Each layer is done for the whole map before the next, so that the statistics of group normalisation are known when
they are needed, and no window needs more than one pixel around it. Between layers the map lies in a temporary file.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentry.nn.coder import CoderDownsample, CoderLevel, CoderMiddle, CoderUpsample, Decoder, Encoder, PixelAttention
from latentry.nn.tiled.layers import attention, block, convolution, convolved, halving
from latentry.nn.tiled.moments import normalised
from latentry.nn.tiled.plane import Doubled, Folded, Plane, Room, Source, Unfolded
from latentry.windows import Window


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
    for level in encoder.levels:
        assert isinstance(level, CoderLevel)
        x = _level(level, x)
        if isinstance(level.resample, CoderDownsample):
            x = halving(level.resample.conv, x)
    return _Last(encoder, _middle(encoder.middle, x))


def decoded(decoder: Decoder, latent: Source, room: Room) -> Source:
    """`decoder(latent)` as a source; windows of it start at multiples of the decoder's patch."""
    conv = decoder.conv_in
    x = _middle(decoder.middle, convolution(conv, latent, room.plane(conv.out_channels, latent.height, latent.width)))
    for level in reversed(decoder.levels):
        assert isinstance(level, CoderLevel)
        x = _level(level, x)
        if isinstance(level.resample, CoderUpsample):
            x = convolution(level.resample.conv, Doubled(x), room.plane(x.channels, 2 * x.height, 2 * x.width))
    last, patch = _Last(decoder, x), decoder.conv_out.patch
    return Unfolded(last, patch) if patch > 1 else last


def _level(level: CoderLevel, x: Plane) -> Plane:
    for i, each in enumerate(level.blocks):
        x = block(each, x)  # type: ignore[arg-type]
        if len(level.attentions):
            x = attention(level.attentions[i], x)  # type: ignore[arg-type]
    return x


def _middle(middle: CoderMiddle, x: Plane) -> Plane:
    x = block(middle.block1, x)
    if isinstance(middle.attention, PixelAttention):
        x = attention(middle.attention, x)
    return block(middle.block2, x)
