"""EDSR-style upscaler: a residual trunk without normalisation at low resolution, added to a bicubic enlargement."""

import torch.nn.functional as F
from torch import Tensor, nn

INIT_SCALE = 0.1
"""Kaiming weights are scaled by this, so that a fresh network starts close to its bicubic skip (as MSRResNet does)."""


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))): SRResNet's block without batch normalisation (Lim et al. 2017, section 3.1)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class EDSR(nn.Module):
    """[N, colours, H, W] in [0, 1] -> [N, colours, scale*H, scale*W], about [0, 1].

    After Lim et al. 2017 (arXiv:1707.02921), leaner where it costs little: one sub-pixel convolution (Shi et al. 2016)
    takes the trunk straight to colours, and the trunk learns only what bicubic interpolation misses.
    """

    any_threads = True
    """Each value is a sum in one order, whoever computes it: results are bit for bit the same with any number of
    threads."""

    def __init__(self, *, scale: int, channels: int = 64, blocks: int = 10, colours: int = 3) -> None:
        super().__init__()
        self.scale = scale
        self.halo_px = 2 * blocks + 3
        """The receptive field's radius in input pixels: each 3x3 convolution in a row adds one."""
        self.head = nn.Conv2d(colours, channels, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.body_end = nn.Conv2d(channels, channels, 3, padding=1)
        self.tail = nn.Conv2d(channels, colours * scale**2, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.head:
                nn.init.kaiming_normal_(module.weight)
                module.weight.data.mul_(INIT_SCALE)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        features = self.head(x)
        features = features + self.body_end(self.body(features))
        detail = F.pixel_shuffle(self.tail(features), self.scale)
        return F.interpolate(x, scale_factor=self.scale, mode="bicubic", align_corners=False) + detail
