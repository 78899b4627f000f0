"""The Inception network of the published weight file `weights-inception-2015-12-05-6726825d.pth`."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from latentry.nn.inception.blocks import Block8, Block17, Block35, Conv, To8, To17

WIDTH, CLASSES = 2048, 1008


class Inception(nn.Module):
    """Features and logits of images that are already 299x299. Always in evaluation mode, fixed.

    Weights are as initialised: fill them from the published file. The taps are named by their channels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = Conv(3, 32, 3, stride=2), Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Conv(64, 80, 1), Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = Block35(192, 32), Block35(256, 64), Block35(288, 64)
        self.Mixed_6a, self.Mixed_6b, self.Mixed_6c = To17(), Block17(128), Block17(160)
        self.Mixed_6d, self.Mixed_6e = Block17(160), Block17(192)
        self.Mixed_7a, self.Mixed_7b = To8(), Block8(1280, maximum=False)
        self.Mixed_7c = Block8(2048, maximum=True)
        self.fc = nn.Linear(WIDTH, CLASSES)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Inception:
        """Stays in evaluation mode, whatever the modules around it do."""
        return super().train(False)

    def taps(self, x: Tensor) -> dict[str, Tensor]:
        """Spatial means at `64`, `192`, `768` and `2048`, each (B, channels), of (B, 3, 299, 299) in [-1, 1)."""
        means = {}
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = functional.max_pool2d(x, 3, stride=2)  # (B, 64, 73, 73)
        means["64"] = x.mean((2, 3))
        x = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)  # (B, 192, 35, 35)
        means["192"] = x.mean((2, 3))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))  # (B, 288, 35, 35)
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # (B, 768, 17, 17)
        x = self.Mixed_6e(self.Mixed_6d(x))
        means["768"] = x.mean((2, 3))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # (B, 2048, 8, 8)
        means["2048"] = x.mean((2, 3))
        return means

    def forward(self, x: Tensor) -> Tensor:
        """The features of FID, (B, 2048), of images (B, 3, 299, 299) in [-1, 1)."""
        return self.taps(x)["2048"]

    def logits(self, features: Tensor, bias: bool = False) -> Tensor:
        """Scores of the 1008 classes, (B, 1008), of features (B, 2048). Inception Score takes those without bias."""
        return functional.linear(features, self.fc.weight.to(features), self.fc.bias.to(features) if bias else None)
