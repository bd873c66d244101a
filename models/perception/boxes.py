"""Boxes of objects: how much they overlap, their code relative to anchors, which anchor answers for which, and NMS.

A box is left, top, right and bottom in pixels, right and bottom exclusive; an anchor is its centre x and y, its width
and its height in pixels.
"""

import math

import torch
from torch import Tensor

NONE = -1
"""The owner of an anchor that answers for no box."""
BETWEEN = -2
"""The owner of an anchor that overlaps a box too much to be background, and too little to answer for it."""
LEAST_SIDE_PX = 1e-3
"""Smaller sides are encoded as this: their logarithm must be finite."""
LEAST_UNION_PX = 1e-9
"""The least area that an intersection is divided by: two boxes without an area do not overlap."""
NMS_BLOCK = 1024
"""How many boxes `nms` compares with one another at once, which bounds its memory."""


def corners(anchors: Tensor) -> Tensor:
    """Anchors [..., 4] -> the boxes that they are, [..., 4]."""
    half = anchors[..., 2:] / 2
    return torch.cat([anchors[..., :2] - half, anchors[..., :2] + half], -1)


def areas(boxes: Tensor) -> Tensor:
    """Areas in square pixels of boxes [..., 4] -> [...]; 0 where a box has its corners the wrong way round."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(-1)


def intersections(one: Tensor, other: Tensor) -> Tensor:
    """Areas in square pixels that boxes [N, 4] share with boxes [M, 4] -> [N, M]."""
    low = torch.maximum(one[:, None, :2], other[None, :, :2])
    high = torch.minimum(one[:, None, 2:], other[None, :, 2:])
    return (high - low).clamp_min(0).prod(-1)


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes [N, 4] and [M, 4] -> [N, M] in [0, 1]."""
    shared = intersections(one, other)
    return shared / (areas(one)[:, None] + areas(other)[None] - shared).clamp_min(LEAST_UNION_PX)


def clipped(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes [..., 4] cut at the edges of an image of that size in pixels."""
    limits = boxes.new_tensor([width, height, width, height])
    return torch.clamp(boxes, torch.zeros_like(limits), limits)


def encoded(boxes: Tensor, anchors: Tensor, variances: tuple[float, float]) -> Tensor:
    """Boxes [..., 4] relative to anchors [..., 4] -> offsets [..., 4]; the inverse of `decoded`.

    Offsets of the centre are in sides of the anchor, those of the sides logarithms of ratios (Girshick et al. 2014,
    R-CNN, appendix C), each divided by its variance, as Liu et al. 2016 (SSD) do.

    Args:
        boxes: boxes in pixels.
        anchors: the anchor of each.
        variances: of centres and of log sides. What others call weights (10, 10, 5, 5) are variances 0.1 and 0.2.
    """
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = (boxes[..., 2:] - boxes[..., :2]).clamp_min(LEAST_SIDE_PX)
    offsets = (centre - anchors[..., :2]) / (variances[0] * anchors[..., 2:])
    return torch.cat([offsets, (size / anchors[..., 2:]).log() / variances[1]], -1)


def decoded(offsets: Tensor, anchors: Tensor, variances: tuple[float, float], most_growth: float = math.inf) -> Tensor:
    """Offsets [..., 4] from anchors [..., 4] -> boxes [..., 4] in pixels.

    Args:
        offsets, anchors, variances: as for `encoded`.
        most_growth: how many times an anchor's side a box's side may be; Faster R-CNN's public networks say 1000 / 16.
    """
    centre = anchors[..., :2] + offsets[..., :2] * variances[0] * anchors[..., 2:]
    growth = (offsets[..., 2:] * variances[1]).clamp_max(math.log(most_growth)).exp()
    half = anchors[..., 2:] * growth / 2
    return torch.cat([centre - half, centre + half], -1)


def matched(overlaps: Tensor, high: float, low: float | None = None) -> Tensor:
    """Which of M boxes each of A anchors answers for, int64 [A]; the first box if it overlaps several as much.

    Ren et al. 2015 (Faster R-CNN, arXiv:1506.01497), section 3.1.2, without the anchors that boxes force.

    Args:
        overlaps: of anchors with boxes, [A, M]; there may be no boxes.
        high: an anchor answers for the box that it overlaps most, if by that much.
        low: below that it is background (NONE), and between the two it is BETWEEN, and no example; None: `high`.
    """
    if not overlaps.shape[1]:
        return torch.full(overlaps.shape[:1], NONE, device=overlaps.device)
    best, owner = overlaps.max(1)
    return owner.masked_fill(best < high, BETWEEN).masked_fill(best < (high if low is None else low), NONE)


def with_best(owner: Tensor, overlaps: Tensor) -> Tensor:
    """The owners [A] where each box's best anchor, the first of equals, answers for that box.

    Liu et al. 2016 (SSD, arXiv:1512.02325), section 2.2. An anchor that is the best of several boxes takes the last.

    Args:
        owner: as `matched` gives it.
        overlaps: of anchors with boxes, [A, M].
    """
    if not overlaps.shape[1]:
        return owner
    numbers = torch.arange(overlaps.shape[1], device=owner.device)
    forced = torch.full_like(owner, NONE).scatter_reduce(0, overlaps.argmax(0), numbers, "amax")
    return torch.where(forced >= 0, forced, owner)


def with_ties(owner: Tensor, overlaps: Tensor) -> Tensor:
    """The owners [A] where all anchors that overlap a box as much as its best one answer for what they overlap most.

    Ren et al. 2015, section 3.1.2, condition (i), as Faster R-CNN's public networks read it: the box that an anchor
    answers for need not be the one that forced it. A box that no anchor overlaps forces none.

    Args:
        owner: as `matched` gives it.
        overlaps: of anchors with boxes, [A, M].
    """
    if not overlaps.shape[1]:
        return owner
    most = overlaps.amax(0)
    forced = ((overlaps == most) & (most > 0)).any(1)
    return torch.where(forced, overlaps.argmax(1), owner)


def nms(boxes: Tensor, scores: Tensor, limit: float, classes: Tensor | None = None) -> Tensor:
    """Numbers of the boxes that stay, int64 [K], best first: greedy non-maximum suppression.

    Best first (of equal scores the first box), a box goes if it overlaps a better one that stays by `limit` or more.
    Kernels that let it go for more than `limit` alone differ where the overlap is just that.

    Args:
        boxes: [N, 4].
        scores: [N].
        limit: intersection over union, in (0, 1].
        classes: int [N]: boxes of other classes are no rivals; None: all are of one class.
    """
    order = scores.argsort(descending=True, stable=True)
    kept = order[:0]
    for block in order.split(NMS_BLOCK):
        left = block[~_rivals(boxes, classes, kept, block, limit).any(0)]
        kept = torch.cat([kept, left[_unsuppressed(_rivals(boxes, classes, left, left, limit).triu(1))]])
    return kept


def _rivals(boxes: Tensor, classes: Tensor | None, one: Tensor, other: Tensor, limit: float) -> Tensor:
    """Whether boxes numbered `one` [N] overlap those numbered `other` [M] too much, bool [N, M]."""
    close = iou(boxes[one], boxes[other]) >= limit
    return close if classes is None else close & (classes[one][:, None] == classes[other][None])


def _unsuppressed(rivals: Tensor) -> Tensor:
    """Which of N boxes stay, bool [N], from which earlier one rivals which later one, bool [N, N] above its diagonal.

    The sequential rule has one fixed point: a box stays if no earlier one that stays rivals it. After round n the first
    n boxes are right, and usually all are after a few.
    """
    stays = torch.ones(len(rivals), dtype=torch.bool, device=rivals.device)
    while not torch.equal(now := ~(rivals & stays[:, None]).any(0), stays):
        stays = now
    return stays
