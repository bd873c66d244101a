"""Boxes drawn into images, for people to look at."""

from collections.abc import Sequence

import torch
from torch import Tensor


def framed(images: Tensor, boxes: Sequence[Tensor]) -> Tensor:
    """Images [N, 3, S, S] in [0, 1] with green frames where boxes [n, 4] of each are: left, top, right and bottom."""
    shown = images.clone()
    green = torch.tensor([0.0, 1.0, 0.0], device=images.device).view(3, 1)
    for image, rows in zip(shown, boxes, strict=True):
        side = image.shape[1] - 1
        for left, top, right, bottom in rows.clamp(0, side).round().long().tolist():
            image[:, top, left : right + 1] = image[:, bottom, left : right + 1] = green
            image[:, top : bottom + 1, left] = image[:, top : bottom + 1, right] = green
    return shown
