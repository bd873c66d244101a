"""The image transform network of fast style transfer, with the parameter names of torch's own example."""

import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.networks.layers import InstanceNorm

BLOCKS = 5


class PaddedConv(nn.Module):
    """A convolution after reflection padding; with `enlarge`, of the input enlarged twice by its nearest pixels."""

    def __init__(self, before: int, after: int, kernel: int, *, stride: int = 1, enlarge: bool = False) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.padding = kernel // 2
        self.conv2d = nn.Conv2d(before, after, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.enlarge:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv2d(F.pad(x, (self.padding,) * 4, mode="reflect"))


class ResidualBlock(nn.Module):
    """[N, C, H, W] -> the same: x + two convolutions of it (Gross and Wilber's form, without a ReLU at the end)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = PaddedConv(channels, channels, 3)
        self.in1 = InstanceNorm(channels, affine=True)
        self.conv2 = PaddedConv(channels, channels, 3)
        self.in2 = InstanceNorm(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))


class TransformNet(nn.Module):
    """[N, 3, H, W] in [0, 255] -> the same, about [0, 255]; H and W are multiples of 4.

    Johnson et al. 2016 (arXiv:1603.08155), appendix, with instance norm (Ulyanov et al. 2016, arXiv:1607.08022) and
    enlargement followed by convolutions in place of transposed ones.
    """

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        narrow, middle, wide = width, 2 * width, 4 * width
        self.conv1, self.in1 = PaddedConv(3, narrow, 9), InstanceNorm(narrow, affine=True)
        self.conv2, self.in2 = PaddedConv(narrow, middle, 3, stride=2), InstanceNorm(middle, affine=True)
        self.conv3, self.in3 = PaddedConv(middle, wide, 3, stride=2), InstanceNorm(wide, affine=True)
        for number in range(1, BLOCKS + 1):
            self.add_module(f"res{number}", ResidualBlock(wide))
        self.deconv1, self.in4 = PaddedConv(wide, middle, 3, enlarge=True), InstanceNorm(middle, affine=True)
        self.deconv2, self.in5 = PaddedConv(middle, narrow, 3, enlarge=True), InstanceNorm(narrow, affine=True)
        self.deconv3 = PaddedConv(narrow, 3, 9)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.in1(self.conv1(x)))
        y = F.relu(self.in2(self.conv2(y)))
        y = F.relu(self.in3(self.conv3(y)))
        for number in range(1, BLOCKS + 1):
            y = self.get_submodule(f"res{number}")(y)
        y = F.relu(self.in4(self.deconv1(y)))
        y = F.relu(self.in5(self.deconv2(y)))
        return self.deconv3(y)
