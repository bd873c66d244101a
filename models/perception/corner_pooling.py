"""Corner pooling: a box's corner learns of the edges that meet in it, which may be far away.

Law and Deng 2018 (CornerNet, arXiv:1808.01244), section 3.4, as running maxima.
"""

import torch
from torch import Tensor


def top_left(vertical: Tensor, horizontal: Tensor) -> Tensor:
    """For each pixel the most of what is at and below it in one map, and at and right of it in the other, added up.

    Maps and result are [N, C, H, W]. A box's top lies right of its top left corner, its left side
    below.
    """
    return _from_behind(vertical, 2) + _from_behind(horizontal, 3)


def bottom_right(vertical: Tensor, horizontal: Tensor) -> Tensor:
    """For each pixel the most of what is at and above it in one map, and at and left of it in the other, added up.

    Maps and result are [N, C, H, W].
    """
    return torch.cummax(vertical, 2).values + torch.cummax(horizontal, 3).values


def _from_behind(maps: Tensor, axis: int) -> Tensor:
    """The running maximum along an axis that starts at its end."""
    return torch.cummax(maps.flip(axis), axis).values.flip(axis)
