"""The stacked hourglass of CornerNet and CenterNet: features are halved five times and brought back, twice in a row.

Law and Deng 2018 (CornerNet, arXiv:1808.01244), section 3.4, after Newell et al. 2016 (arXiv:1603.06937): convolutions
of stride 2 in place of pooling. Parameter names are those of the two public repositories.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 4
"""Image pixels a pixel of the features."""


class StackedHourglass(nn.Module):
    """Images [N, 3, H, W] -> features [N, `channels`, H / 4, W / 4] of each stack, the last one's the best.

    H and W are multiples of `multiple`.
    """

    def __init__(
        self,
        stacks: int = 2,
        *,
        widths: Sequence[int] = (256, 256, 384, 384, 384, 512),
        blocks: Sequence[int] = (2, 2, 2, 2, 2, 4),
    ) -> None:
        """
        Args:
            widths: channels at strides 4, 8, 16, …; the first are the features'.
            blocks: residual blocks at each of these strides.
        """
        super().__init__()
        width = self.channels = widths[0]
        self.multiple = STRIDE << (len(widths) - 1)
        self.pre = nn.Sequential(_Convolution(3, width // 2, 7, 2), _Residual(width // 2, width, 2))
        self.kps = nn.ModuleList(_Hourglass(widths, blocks) for _ in range(stacks))
        self.cnvs = nn.ModuleList(_Convolution(width, width, 3) for _ in range(stacks))
        between = range(stacks - 1)
        self.inters = nn.ModuleList(_Residual(width, width) for _ in between)
        self.inters_ = nn.ModuleList(_projection(width, width) for _ in between)
        self.cnvs_ = nn.ModuleList(_projection(width, width) for _ in between)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, features = self.pre(x), list[Tensor]()
        for number, (hourglass, last) in enumerate(zip(self.kps, self.cnvs, strict=True)):
            features.append(last(hourglass(x)))
            if number < len(self.inters):
                x = self.inters[number](F.relu(self.inters_[number](x) + self.cnvs_[number](features[-1])))
        return features


class _Convolution(nn.Module):
    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        same = stride == 1 and before == after
        self.skip = nn.Sequential() if same else _projection(before, after, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.skip(x))


class _Hourglass(nn.Module):
    """One level: what stays at its stride, and beside it what is halved, goes deeper, and is enlarged again."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int]) -> None:
        super().__init__()
        (width, deeper), (count, below) = widths[:2], blocks[:2]
        self.up1 = _residuals([width] * (count + 1))
        self.low1 = _residuals([width] + [deeper] * count, stride=2)
        innermost = len(widths) == 2
        self.low2 = _residuals([deeper] * (below + 1)) if innermost else _Hourglass(widths[1:], blocks[1:])
        self.low3 = _residuals([deeper] * count + [width])

    def forward(self, x: Tensor) -> Tensor:
        low = self.low3(self.low2(self.low1(x)))
        return self.up1(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


def _residuals(widths: Sequence[int], stride: int = 1) -> nn.Sequential:
    """Blocks from each width to the next, the first of a stride."""
    pairs = enumerate(pairwise(widths))
    return nn.Sequential(*(_Residual(*pair, 1 if n else stride) for n, pair in pairs))


def _projection(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
