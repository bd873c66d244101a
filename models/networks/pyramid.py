"""Feature pyramids: coarse features join the finer ones, so that every level knows what is there.

Lin et al. 2017, "Feature pyramid networks for object detection" (arXiv:1612.03144), with torchvision's parameter names.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class FeaturePyramid(nn.Module):
    """Features of several strides, finest first -> as many of `out` channels each, of the same sizes."""

    def __init__(self, taken: Sequence[int], out: int, *, normed: bool = False, finest: bool = False) -> None:
        """
        Args:
            taken: channels of the features.
            out: channels of the results.
            finest: whether the finest result is the only one.
            normed: whether batch norms follow the convolutions, which then have no biases.
        """
        super().__init__()
        self.inner_blocks = nn.ModuleList(_conv(width, out, 1, normed=normed) for width in taken)
        self.layer_blocks = nn.ModuleList(_conv(out, out, 3, normed=normed) for _ in taken[: 1 if finest else None])

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        joined: list[Tensor] = []
        for block, level in zip(reversed(self.inner_blocks), reversed(levels), strict=True):
            own = block(level)
            joined.append(own + F.interpolate(joined[-1], size=own.shape[2:], mode="nearest") if joined else own)
        return [block(level) for block, level in zip(self.layer_blocks, reversed(joined), strict=False)]


def _conv(before: int, after: int, kernel: int, *, normed: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=not normed)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(after)] if normed else []))
