"""Anchors of a feature pyramid, and the proposals of where things may be that a network makes of them.

Ren et al. 2015 (Faster R-CNN, arXiv:1506.01497), section 3, on the pyramid of Lin et al. 2017 (arXiv:1612.03144),
section 4.1, with the settings of torchvision's public networks.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from recast.models.perception.boxes import clipped, decoded, nms

RATIOS = (0.5, 1.0, 2.0)
"""Height over width of the anchors at each place, in the order of the network's outputs."""
VARIANCES = (1.0, 1.0)
MOST_GROWTH = 1000 / 16
"""A proposal's side is at most so many times its anchor's."""
LEAST_SIDE_PX = 1e-3
MOST_PROPOSALS = 1000
"""Of each level before suppression, and of all after it, when a trained network looks."""
OVERLAP = 0.7
"""When two proposals of a level overlap so much, only the better one stays."""


def anchors(sizes: Sequence[tuple[int, int]], image: tuple[int, int], finest_px: int) -> list[Tensor]:
    """Anchors of each level: centre x and y, width and height in pixels, float32 [h * w * ratios, 4].

    Args:
        sizes: height and width of the levels, finest first.
        image: height and width of the padded image, which the levels' strides follow from.
        finest_px: side of the finest level's anchors; it doubles from level to level.
    """
    ratios = torch.tensor(RATIOS)
    found = []
    for number, (high, wide) in enumerate(sizes):
        side = finest_px << number
        half = torch.stack([side / ratios.sqrt(), side * ratios.sqrt()], 1) / 2
        half = half.round()  # torchvision's are in whole pixels, and centred on the corner of a place
        y, x = torch.meshgrid(
            torch.arange(high) * (image[0] // high), torch.arange(wide) * (image[1] // wide), indexing="ij"
        )
        centres = torch.stack([x, y], -1).reshape(-1, 1, 2).expand(-1, len(ratios), -1)
        found.append(torch.cat([centres.float(), (2 * half).expand(len(centres), -1, -1)], -1).reshape(-1, 4))
    return found


def proposed(
    logits: Sequence[Tensor],
    offsets: Sequence[Tensor],
    placed: Sequence[Tensor],
    size: tuple[int, int],
    most: int = MOST_PROPOSALS,
) -> Tensor:
    """The proposals for an image, [R, 4] boxes in pixels, the likeliest first.

    Args:
        logits: of each level, [A]: how likely an anchor holds something.
        offsets: of each level, [A, 4].
        placed: its anchors, [A, 4].
        size: the image's height and width without padding.
        most: of each level before suppression, and of all together after it.
    """
    boxes, scores, levels = [], [], []
    for number, (likely, moved, own) in enumerate(zip(logits, offsets, placed, strict=True)):
        best, which = likely.topk(min(most, len(likely)))
        boxes.append(clipped(decoded(moved[which], own[which], VARIANCES, MOST_GROWTH), *size))
        scores.append(best.sigmoid())
        levels.append(torch.full_like(which, number))
    box, score, level = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
    large = ((box[:, 2:] - box[:, :2]) >= LEAST_SIDE_PX).all(1)
    box, score, level = box[large], score[large], level[large]
    return box[nms(box, score, OVERLAP, level)[:most]]
