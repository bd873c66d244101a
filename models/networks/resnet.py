"""ResNets as trunks of networks that look: features at four strides, under torchvision's parameter names.

He et al. 2016 (arXiv:1512.03385), table 1, with the stride in the 3 x 3 convolution of a bottleneck, as torchvision has
it; its features at strides 4, 8, 16 and 32.
"""

import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (4, 8, 16, 32)
DEPTHS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks at each stride, by the number of layers; from 50 on they are bottlenecks."""
FIRST_BOTTLENECK = 50
EXPANSION = 4
"""How many times wider a bottleneck's result is than its middle."""
NORM_EPS = 1e-5


class ResNet(nn.Module):
    """Images [N, 3, H, W] -> features at strides 4, 8, 16 and 32, [N, `channels[i]`, H / stride, W / stride] each."""

    def __init__(self, layers: int = 50, *, width: int = 64, norm_eps: float = NORM_EPS) -> None:
        """
        Args:
            layers: 10, 18, 34, 50 or 101.
            width: channels of the first stage's 3 x 3 convolutions; they double at each stage.
            norm_eps: what batch norms add to variances.

        Raises:
            ValueError: no such number of layers.
        """
        super().__init__()
        if layers not in DEPTHS:
            raise ValueError(f"a ResNet of {layers} layers is not known; there are {', '.join(map(str, DEPTHS))}")
        block = Bottleneck if layers >= FIRST_BOTTLENECK else BasicBlock
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=norm_eps)
        before, channels = width, []
        for number, depth in enumerate(DEPTHS[layers]):
            inner, stage = width << number, nn.Sequential()
            for place in range(depth):
                stage.append(block(before, inner, 2 if number and not place else 1, norm_eps))
                before = inner * block.expansion
            self.add_module(f"layer{number + 1}", stage)
            channels.append(before)
        self.channels = tuple(channels)
        """Channels of the features, finest first."""

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        levels = []
        for number in range(1, len(STRIDES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
            levels.append(x)
        return levels


def _shortcut(before: int, after: int, stride: int, norm_eps: float) -> nn.Module | None:
    """What brings a block's input to the shape of its result; None where it has that already."""
    if stride == 1 and before == after:
        return None
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after, eps=norm_eps))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions, whose result is added to their input."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int, norm_eps: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=norm_eps)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=norm_eps)
        self.downsample = _shortcut(before, width, stride, norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        made = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(made + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, whose result is added to their input."""

    expansion = EXPANSION

    def __init__(self, before: int, width: int, stride: int, norm_eps: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width, eps=norm_eps)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width, eps=norm_eps)
        self.conv3 = nn.Conv2d(width, EXPANSION * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(EXPANSION * width, eps=norm_eps)
        self.downsample = _shortcut(before, EXPANSION * width, stride, norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        made = F.relu(self.bn1(self.conv1(x)))
        made = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(made)))))
        return F.relu(made + (x if self.downsample is None else self.downsample(x)))
