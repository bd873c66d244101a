"""MSRResNet, the SRResNet that the field trains, with BasicSR's parameter names."""

import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.networks.edsr import ResidualBlock

SLOPE = 0.1
"""Negative slope of the leaky ReLUs outside the trunk."""


class MSRResNet(nn.Module):
    """[N, in_channels, H, W] in [0, 1] -> [N, out_channels, scale*H, scale*W], about [0, 1].

    Ledig et al. 2017 (arXiv:1609.04802) as Wang et al. 2018 modified it (ESRGAN, arXiv:1809.00219, section 4): no batch
    normalisation, and a bilinear enlargement that the network adds to. Scales 2, 3 and 4.
    """

    def __init__(
        self, *, in_channels: int = 3, out_channels: int = 3, channels: int = 64, blocks: int = 16, scale: int = 4
    ) -> None:
        super().__init__()
        if scale not in (2, 3, 4):
            raise ValueError(f"scale is {scale}; MSRResNet has 2, 3 and 4")
        self.scale = scale
        self.step = 2 if scale == 4 else scale
        self.halo_px = 2 * blocks + 3
        """The trunk's convolutions one by one, and what those at higher resolution reach in input pixels."""
        self.conv_first = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(channels) for _ in range(blocks)))
        self.upconv1 = nn.Conv2d(channels, channels * self.step**2, 3, padding=1)
        if scale == 4:
            self.upconv2 = nn.Conv2d(channels, channels * 4, 3, padding=1)
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.body(F.leaky_relu(self.conv_first(x), SLOPE))
        features = F.leaky_relu(F.pixel_shuffle(self.upconv1(features), self.step), SLOPE)
        if self.scale == 4:
            features = F.leaky_relu(F.pixel_shuffle(self.upconv2(features), 2), SLOPE)
        detail = self.conv_last(F.leaky_relu(self.conv_hr(features), SLOPE))
        return F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False) + detail
