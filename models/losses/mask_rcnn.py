"""What Mask R-CNN pays: for anchors and regions of the wrong class, for boxes, masks and keypoints that are off.

Ren et al. 2015 (Faster R-CNN, arXiv:1506.01497), section 3.1; He et al. 2017 (arXiv:1703.06870), sections 3 and 5, with
torchvision's settings. Each image counts alike: its losses are means over what was sampled of it, and what a batch pays
is the mean over its images.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recast.models.networks.mask_rcnn import VARIANCES
from recast.models.perception.boxes import corners, encoded, iou, matched, with_ties
from recast.models.perception.proposals import VARIANCES as PROPOSAL_VARIANCES

BETA = 1 / 9
"""From so far on, an offset's error counts linearly."""
POSITIVE, NEGATIVE = 0.7, 0.3
"""An anchor that overlaps a thing by so much holds it; below the other it holds nothing."""
REGION_POSITIVE = 0.5
"""A region that overlaps a thing by so much is of it; others are background."""
POSITIVE_SHARE = 0.5
"""Of the anchors that are sampled of an image, at most this share hold something."""
REGION_POSITIVE_SHARE = 0.25
"""Of the regions."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The things that are in one image."""

    boxes: Tensor
    """float32 [M, 4] in pixels."""
    categories: Tensor
    """int64 [M]."""
    masks: Tensor | None = None
    """uint8 [M, b, b]: how much of each bin of a grid over the box is inside, 255 all of it; None: not asked for."""
    masked: Tensor | None = None
    """bool [M]: whether the thing's mask is known."""
    points: Tensor | None = None
    """float32 [M, K, 3]: x, y and visibility; None: not asked for."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some of an image's anchors or regions, those that hold things first."""

    which: Tensor
    """int64 [S]."""
    owners: Tensor
    """The thing that each of the first P holds, int64 [P]."""

    @property
    def positive(self) -> Tensor:
        """The first P of `which`."""
        return self.which[: len(self.owners)]

    @property
    def size(self) -> int:
        """S, or 1 if nothing was sampled: what sums are divided by."""
        return max(len(self.which), 1)


def sample(owners: Tensor, draws: Tensor, most: int, share: float) -> Sample:
    """Up to `most` at random, of which up to a share hold things.

    Args:
        owners: as `matched` gives them, int64 [A].
        draws: random numbers [A]; the lowest are taken.
    """
    (positive,), (negative,) = (owners >= 0).nonzero(as_tuple=True), (owners == -1).nonzero(as_tuple=True)
    positive = positive[draws[positive].argsort()][: int(most * share)]
    negative = negative[draws[negative].argsort()][: most - len(positive)]
    return Sample(which=torch.cat([positive, negative]), owners=owners[positive])


def sampled_anchors(anchors: Tensor, truth: Truth, draws: Tensor, most: int) -> Sample:
    """The anchors [A, 4], centres and sizes, that an image's proposals learn from."""
    overlaps = iou(corners(anchors), truth.boxes)
    owners = with_ties(matched(overlaps, POSITIVE, NEGATIVE), overlaps)
    return sample(owners, draws, most, POSITIVE_SHARE)


def sampled_regions(rois: Tensor, truth: Truth, draws: Tensor, most: int) -> Sample:
    """The regions [R, 4] that the heads learn from."""
    owners = matched(iou(rois, truth.boxes), REGION_POSITIVE)
    return sample(owners, draws, most, REGION_POSITIVE_SHARE)


def proposal_losses(
    logits: Tensor, offsets: Tensor, anchors: Tensor, taken: Sample, truth: Truth
) -> tuple[Tensor, Tensor]:
    """Of one image: whether its anchors [A, 4] hold something (logits [A]), and where exactly (offsets [A, 4])."""
    holds = torch.zeros(len(taken.which), device=logits.device)
    holds[: len(taken.owners)] = 1
    sure = F.binary_cross_entropy_with_logits(logits[taken.which].float(), holds, reduction="sum")
    wanted = encoded(truth.boxes[taken.owners], anchors[taken.positive], PROPOSAL_VARIANCES)
    off = F.smooth_l1_loss(offsets[taken.positive].float(), wanted, beta=BETA, reduction="sum")
    return sure / taken.size, off / taken.size


def region_losses(logits: Tensor, offsets: Tensor, rois: Tensor, taken: Sample, truth: Truth) -> tuple[Tensor, Tensor]:
    """Of one image, whose sampled regions are given in the order of the sample: their classes, and boxes of the class.

    Args:
        logits: [S, classes], the background first.
        offsets: [S, classes, 4].
        rois: [S, 4].
    """
    positive = len(taken.owners)
    classes = torch.zeros(len(rois), dtype=torch.int64, device=rois.device)
    classes[:positive] = truth.categories[taken.owners] + 1
    wrong = F.cross_entropy(logits.float(), classes, reduction="sum")
    held = rois[:positive]
    around = torch.cat([(held[:, :2] + held[:, 2:]) / 2, held[:, 2:] - held[:, :2]], 1)
    wanted = encoded(truth.boxes[taken.owners], around, VARIANCES)
    own = offsets[torch.arange(positive, device=rois.device), classes[:positive]]
    off = F.smooth_l1_loss(own.float(), wanted, beta=BETA, reduction="sum")
    return wrong / taken.size, off / taken.size


def mask_loss(logits: Tensor, rois: Tensor, owners: Tensor, truth: Truth) -> Tensor:
    """Of one image: the masks of the things' own categories (section 3), mean over pixels and regions.

    Args:
        logits: [P, classes, b, b] of regions that hold things.
        rois: [P, 4]; owners: int64 [P].
    """
    assert truth.masks is not None
    assert truth.masked is not None
    known = truth.masked[owners]
    bins = logits.shape[-1]
    own = logits[torch.arange(len(owners), device=rois.device), truth.categories[owners] + 1]
    wanted = mask_targets(truth.masks[owners], truth.boxes[owners], rois, bins)
    off = F.binary_cross_entropy_with_logits(own.float(), wanted, reduction="none").mean((1, 2))
    return (off * known).sum() / known.sum().clamp_min(1)


def mask_targets(masks: Tensor, boxes: Tensor, rois: Tensor, bins: int) -> Tensor:
    """How much of the things is at the middles of the bins of regions: float32 [P, bins, bins] in [0, 1].

    Args:
        masks: uint8 [P, b, b], over the things' boxes.
        boxes, rois: [P, 4]: the box of each region's thing, and the region.
    """
    steps = (torch.arange(bins, device=rois.device) + 0.5) / bins
    start, size = rois[:, None, :2], (rois[:, 2:] - rois[:, :2])[:, None]
    places = start + size * steps[None, :, None]  # x and y of the bins' middles, [P, bins, 2]
    inner = (places - boxes[:, None, :2]) / (boxes[:, None, 2:] - boxes[:, None, :2]).clamp_min(1e-3) * 2 - 1
    x, y = inner.unbind(-1)
    grid = torch.stack([x[:, None].expand(-1, bins, -1), y[:, :, None].expand(-1, -1, bins)], -1)
    values = F.grid_sample(masks[:, None].to(grid.dtype) / 255, grid, align_corners=False)[:, 0]
    return values


def point_loss(logits: Tensor, rois: Tensor, owners: Tensor, truth: Truth) -> Tensor:
    """Of one image: in which bin each visible keypoint lies (section 5, a softmax over the map), mean over them.

    Args:
        logits: [P, K, b, b] of regions that hold things.
        rois: [P, 4]; owners: int64 [P].
    """
    assert truth.points is not None
    points, bins = truth.points[owners], logits.shape[-1]
    size = (rois[:, 2:] - rois[:, :2]).clamp_min(1e-3)
    place = (points[..., :2] - rois[:, None, :2]) / size[:, None]
    seen = (points[..., 2] > 0) & (place >= 0).all(-1) & (place <= 1).all(-1)
    column, row = (place * bins).long().clamp(0, bins - 1).unbind(-1)
    wanted = (row * bins + column)[seen]
    off = F.cross_entropy(logits.flatten(2)[seen].float(), wanted, reduction="sum")
    return off / seen.sum().clamp_min(1)
