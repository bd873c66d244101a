"""RRDBNet, the generator of ESRGAN and Real-ESRGAN, with BasicSR's parameter names."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Negative slope of all leaky ReLUs."""
RESIDUAL = 0.2
"""What residuals are scaled by, at both levels (Wang et al. 2018, section 3.1)."""


class DenseBlock(nn.Module):
    """[N, C, H, W] -> the same: five convolutions, each of which sees all before it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        for number in range(1, 5):
            self.add_module(f"conv{number}", nn.Conv2d(channels + (number - 1) * growth, growth, 3, padding=1))
        self.conv5 = nn.Conv2d(channels + 4 * growth, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = x
        for number in range(1, 5):
            seen = torch.cat([seen, F.leaky_relu(self.get_submodule(f"conv{number}")(seen), SLOPE)], 1)
        return x + RESIDUAL * self.conv5(seen)


class RRDB(nn.Module):
    """Residual in residual dense block: three dense blocks in a row, their result added to the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """[N, in_channels, H, W] in [0, 1] -> [N, out_channels, scale*H, scale*W], about [0, 1].

    Wang et al. 2018 (ESRGAN, arXiv:1809.00219); Wang et al. 2021 (Real-ESRGAN, arXiv:2107.10833) for `unshuffle`: the
    input is packed by that factor first, so its sides are multiples of it. scale = 2^ups / unshuffle: 4 (2 ups), 2 (2
    ups, unshuffle 2), 1 (2 ups, unshuffle 4); ESRGAN's first files have fewer ups instead.
    """

    any_threads = True
    """Each value is a sum in one order, whoever computes it: results are bit for bit the same with any number of
    threads."""

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 64,
        growth: int = 32,
        blocks: int = 23,
        ups: int = 2,
        unshuffle: int = 1,
    ) -> None:
        super().__init__()
        self.ups, self.unshuffle = ups, unshuffle
        self.scale = 2**ups // unshuffle
        self.conv_first = nn.Conv2d(in_channels * unshuffle**2, channels, 3, padding=1)
        self.body = nn.Sequential(*(RRDB(channels, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(channels, channels, 3, padding=1)
        for number in range(1, ups + 1):
            self.add_module(f"conv_up{number}", nn.Conv2d(channels, channels, 3, padding=1))
        self.conv_hr = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv_last = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.conv_first(F.pixel_unshuffle(x, self.unshuffle) if self.unshuffle > 1 else x)
        features = features + self.conv_body(self.body(features))
        for number in range(1, self.ups + 1):
            enlarged = F.interpolate(features, scale_factor=2, mode="nearest")
            features = F.leaky_relu(self.get_submodule(f"conv_up{number}")(enlarged), SLOPE)
        return self.conv_last(F.leaky_relu(self.conv_hr(features), SLOPE))
