"""What a network that looks gives for an image: boxes with scores and categories, and masks or points where it can."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found in one image, the best score first, in pixels of the tensor that the network was given."""

    boxes: Tensor
    """float32 [n, 4]: left, top, right, bottom; right and bottom exclusive."""
    scores: Tensor
    """float32 [n] in [0, 1]."""
    categories: Tensor
    """int64 [n]: places in `Looks.categories`."""
    masks: Tensor | None = None
    """float32 [n, m, m] in [0, 1]: how sure it is, on a grid over the box, that there is the thing."""
    points: Tensor | None = None
    """float32 [n, K, 3]: x, y and the score of each keypoint."""


@runtime_checkable
class Looking(Protocol):
    """What a network that looks offers besides `forward`."""

    def found(self, images: Tensor, floor: float) -> list[Findings]:
        """What is in each of some images of one size; nothing of one depends on the others.

        Args:
            images: float32 [N, 3, H, W] in the value range and channel order of its bundle; H and W are multiples of
                `Descriptor.size_multiple`.
            floor: the least score of what is reported.
        """
        ...


def finite(*values: Tensor) -> None:
    """Raises FloatingPointError unless all values are numbers: comparisons pass NaN over as if nothing were there."""
    if not all(torch.isfinite(some).all() for some in values):
        raise FloatingPointError("the network gives values that are not finite numbers")
