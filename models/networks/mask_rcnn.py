"""Mask R-CNN: boxes of things, and for each its mask or its keypoints.

He et al. 2017 (arXiv:1703.06870) on a ResNet with a feature pyramid, with torchvision's parameter names and rules: its
Mask R-CNN and Keypoint R-CNN, and the second version of Li et al. 2021 (arXiv:2111.11429).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.networks.pyramid import FeaturePyramid
from recast.models.networks.resnet import NORM_EPS, ResNet
from recast.models.perception.boxes import clipped, decoded, nms
from recast.models.perception.findings import Findings, finite
from recast.models.perception.proposals import MOST_GROWTH, RATIOS, anchors, proposed
from recast.models.perception.rois import levels, roi_align, roi_pool
from recast.models.sizes import rounded_up

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, for red, green and blue: images are brought to 0 and 1 by them."""
MULTIPLE = 32
"""Images are padded to sides of a multiple of this, with the mean's colour."""
FINEST_ANCHOR_PX = 32
Pooling = Literal["align", "pool"]
BOX_BINS, MASK_BINS = 7, 14
"""Rows and columns of the features of a region, for its box; and for its mask or keypoints."""
VARIANCES = (0.1, 0.2)
OVERLAP = 0.5
"""When two boxes of a category overlap so much, only the better one stays."""
MOST_THINGS = 100
LEAST_SIDE_PX = 1e-2
POINT_WIDTH, POINT_LAYERS = 512, 8
LEVELS = (2, 5)
"""The finest and the coarsest level that regions are read from; the network proposes on one more."""


class MaskRCNN(nn.Module):
    """RGB images [N, 3, H, W] in [0, 1]; `found` says what is in them.

    `forward` gives the pyramid's features and the logits and offsets of each level's anchors, [N, A] and [N, A, 4].
    """

    def __init__(
        self, *, categories: int, layers: int = 50, width: int = 64, channels: int = 256, hidden: int = 1024,
        version: int = 1, masks: bool = True, points: int = 0, norm_eps: float = NORM_EPS,
        point_width: int = POINT_WIDTH, finest_anchor_px: int = FINEST_ANCHOR_PX, pooling: Pooling = "align",
    ) -> None:  # fmt: skip
        """
        Args:
            categories: how many there are, without the background.
            layers, width: of the ResNet.
            channels: of the pyramid and the convolutions after it.
            hidden: of the box head's last layer.
            version: 2: batch norms and more convolutions after the trunk.
            masks: whether it gives masks.
            points: how many keypoints it gives for each thing; 0: none.
            point_width: channels of the keypoint head.
            finest_anchor_px: side of the finest level's anchors; it doubles from level to level.
            pooling: how the features of a region are taken; `pool` is Fast R-CNN's, which rounds to whole pixels.
            norm_eps: of the trunk's batch norms; torchvision's first public networks were trained with 0.

        Raises:
            ValueError: a value is out of its range.
        """
        super().__init__()
        if version not in (1, 2):
            raise ValueError(f"version is {version}; it must be 1 or 2")
        if pooling not in get_args(Pooling):
            raise ValueError(f"pooling is {pooling!r}; it must be {' or '.join(get_args(Pooling))}")
        self.finest_anchor_px = finest_anchor_px
        self.backbone = _Backbone(layers, width, channels, normed=version == 2, norm_eps=norm_eps)
        self.rpn = _Proposing(channels, version)
        self.roi_heads = _Heads(
            categories + 1,
            channels,
            hidden,
            version,
            masks=masks,
            points=points,
            point_width=point_width,
            pooling=pooling,
        )

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        features = self.backbone(_normalised(images))
        return features, *self.rpn(features)

    @torch.no_grad()
    def found(self, images: Tensor, floor: float) -> list[Findings]:
        """What is in images, each by itself: its results do not depend on what else is looked at."""
        return [self._found(image[None], floor) for image in images]

    def _found(self, image: Tensor, floor: float) -> Findings:
        features, logits, offsets = self(image)
        finite(*logits, *offsets)
        size = (image.shape[2], image.shape[3])
        placed = self.anchors(features, size)
        rois = proposed([level[0] for level in logits], [level[0] for level in offsets], placed, size)
        return self.roi_heads.found(features, rois, size, floor)

    def anchors(self, features: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """The anchors of each level, [A, 4], centres and sizes, for images of that height and width."""
        high, wide = (rounded_up(side, MULTIPLE) for side in size)
        levels = [(level.shape[2], level.shape[3]) for level in features]
        return [each.to(features[0].device) for each in anchors(levels, (high, wide), self.finest_anchor_px)]


def _normalised(images: Tensor) -> Tensor:
    """Images brought to the mean and deviation, and padded with the mean at the right and at the bottom."""
    mean, deviation = (images.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))
    down, right = (rounded_up(side, MULTIPLE) - side for side in images.shape[2:])
    return F.pad((images - mean) / deviation, (0, right, 0, down))


class _Backbone(nn.Module):
    """A ResNet's features at strides 4 to 32, through a pyramid, and a coarser level of every second place."""

    def __init__(self, layers: int, width: int, channels: int, *, normed: bool, norm_eps: float) -> None:
        super().__init__()
        self.body = ResNet(layers, width=width, norm_eps=norm_eps)
        self.fpn = FeaturePyramid(self.body.channels, channels, normed=normed)

    def forward(self, x: Tensor) -> list[Tensor]:
        features: list[Tensor] = self.fpn(self.body(x))
        return [*features, features[-1][:, :, ::2, ::2]]


class _ProposalHead(nn.Module):
    def __init__(self, channels: int, version: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*(_conv(channels, channels) for _ in range(version)))
        self.cls_logits = nn.Conv2d(channels, len(RATIOS), 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * len(RATIOS), 1)

    def forward(self, level: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv(level)
        logits, offsets = (head(x).permute(0, 2, 3, 1).flatten(1) for head in (self.cls_logits, self.bbox_pred))
        return logits, offsets.unflatten(1, (-1, 4))


class _Proposing(nn.Module):
    """How likely each anchor holds something, and how its box differs from the anchor."""

    def __init__(self, channels: int, version: int) -> None:
        super().__init__()
        self.head = _ProposalHead(channels, version)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps [N, C, h, w] -> logits [N, h * w * ratios] and offsets [N, h * w * ratios, 4] of each."""
        of_levels = [self.head(level) for level in features]
        return [logits for logits, _ in of_levels], [offsets for _, offsets in of_levels]


class _Heads(nn.Module):
    """What a region is, where its box lies exactly, and its mask and keypoints."""

    def __init__(
        self,
        classes: int,
        channels: int,
        hidden: int,
        version: int,
        *,
        masks: bool,
        points: int,
        point_width: int,
        pooling: Pooling,
    ) -> None:
        super().__init__()
        normed = version == 2
        pooled = channels * BOX_BINS**2
        self.box_head: nn.Module = (
            nn.Sequential(*(_conv(channels, channels, normed=True) for _ in range(4)), nn.Flatten(),
                          nn.Linear(pooled, hidden), nn.ReLU())
            if normed
            else _TwoLayers(pooled, hidden)
        )  # fmt: skip
        self.box_predictor = _BoxPredictor(hidden, classes)
        if masks:
            self.mask_head = nn.Sequential(*(_conv(channels, channels, normed=normed) for _ in range(4)))
            self.mask_predictor = _MaskPredictor(channels, classes)
        if points:
            widths = [channels] + [point_width] * POINT_LAYERS
            pairs = [(nn.Conv2d(a, b, 3, padding=1), nn.ReLU()) for a, b in itertools.pairwise(widths)]
            self.keypoint_head = nn.Sequential(*itertools.chain.from_iterable(pairs))
            self.keypoint_predictor = _PointPredictor(point_width, points)
        self.masks, self.points, self.pooling = masks, points, pooling

    def boxes(self, features: Sequence[Tensor], rois: Tensor, images: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Regions [R, 4] -> logits of the classes, background first, [R, K], and offsets [R, K, 4].

        `images`: which image each region is of, int64 [R]; None: there is one.
        """
        logits, offsets = self.box_predictor(self.box_head(self._pooled(features, rois, images, BOX_BINS)))
        return logits, offsets

    def mask_logits(self, features: Sequence[Tensor], rois: Tensor, images: Tensor | None = None) -> Tensor:
        """Regions [R, 4] as for `boxes` -> a mask of each for every class, [R, K, 28, 28]."""
        logits: Tensor = self.mask_predictor(self.mask_head(self._pooled(features, rois, images, MASK_BINS)))
        return logits

    def point_logits(self, features: Sequence[Tensor], rois: Tensor, images: Tensor | None = None) -> Tensor:
        """Regions [R, 4] as for `boxes` -> a map of each for every keypoint, [R, points, 56, 56]."""
        logits: Tensor = self.keypoint_predictor(self.keypoint_head(self._pooled(features, rois, images, MASK_BINS)))
        return logits

    def _pooled(self, features: Sequence[Tensor], rois: Tensor, images: Tensor | None, bins: int) -> Tensor:
        return pooled(features, rois, bins, images, self.pooling)

    def found(self, features: Sequence[Tensor], rois: Tensor, size: tuple[int, int], floor: float) -> Findings:
        logits, offsets = self.boxes(features, rois)
        finite(logits, offsets)
        scores = logits.softmax(1)[:, 1:]
        around = torch.cat([(rois[:, :2] + rois[:, 2:]) / 2, rois[:, 2:] - rois[:, :2]], 1)
        boxes = clipped(decoded(offsets[:, 1:], around[:, None], VARIANCES, MOST_GROWTH), *size)
        large = ((boxes[..., 2:] - boxes[..., :2]) >= LEAST_SIDE_PX).all(-1)
        roi, category = ((scores > floor) & large).nonzero(as_tuple=True)
        box, score = boxes[roi, category], scores[roi, category]
        best = nms(box, score, OVERLAP, category)[:MOST_THINGS]
        box, score, category = box[best], score[best], category[best]
        return Findings(
            boxes=box,
            scores=score,
            categories=category,
            masks=self._masks(features, box, category) if self.masks else None,
            points=keypoints(self.point_logits(features, box), box) if self.points else None,
        )

    def _masks(self, features: Sequence[Tensor], boxes: Tensor, categories: Tensor) -> Tensor:
        of_class = self.mask_logits(features, boxes)[torch.arange(len(boxes)), categories + 1]
        return of_class.sigmoid()


class _BoxPredictor(nn.Module):
    def __init__(self, hidden: int, classes: int) -> None:
        super().__init__()
        self.cls_score, self.bbox_pred = nn.Linear(hidden, classes), nn.Linear(hidden, 4 * classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (-1, 4))


class _MaskPredictor(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv5_mask = nn.ConvTranspose2d(channels, channels, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.mask_fcn_logits(F.relu(self.conv5_mask(x)))
        return logits


class _PointPredictor(nn.Module):
    def __init__(self, width: int, points: int) -> None:
        super().__init__()
        self.kps_score_lowres = nn.ConvTranspose2d(width, points, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.kps_score_lowres(x), scale_factor=2, mode="bilinear", align_corners=False)


class _TwoLayers(nn.Module):
    def __init__(self, taken: int, hidden: int) -> None:
        super().__init__()
        self.fc6, self.fc7 = nn.Linear(taken, hidden), nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc7(F.relu(self.fc6(x.flatten(1)))))


def pooled(
    features: Sequence[Tensor], rois: Tensor, bins: int, images: Tensor | None = None, pooling: Pooling = "align"
) -> Tensor:
    """Features of regions [R, 4], each from the level that its size asks for, [R, C, bins, bins].

    `images`: which image each region is of, int64 [R]; None: there is one.
    """
    if images is None:
        images = torch.zeros(len(rois), dtype=torch.int64, device=rois.device)
    made = features[0].new_zeros(len(rois), features[0].shape[1], bins, bins)
    level = levels(rois, *LEVELS)
    for number in range(LEVELS[0], LEVELS[1] + 1):
        (of_level,) = (level == number).nonzero(as_tuple=True)
        source = features[number - LEVELS[0]]
        own, scale = (source, rois[of_level], images[of_level], (bins, bins)), 2.0**-number
        part = roi_align(*own, scale=scale, aligned=False) if pooling == "align" else roi_pool(*own, scale=scale)
        made = made.index_copy(0, of_level, part)
    return made


def keypoints(logits: Tensor, boxes: Tensor) -> Tensor:
    """x, y and score of the keypoints of boxes [R, 4] from their maps [R, K, h, w] -> [R, K, 3].

    The maps are enlarged to the boxes by bicubic interpolation, one by one, and the highest pixel is the point; the
    score is the sigmoid of its logit.
    """
    found = boxes.new_zeros(len(boxes), logits.shape[1], 3)
    for n, (maps, (left, top, right, bottom)) in enumerate(zip(logits, boxes.tolist(), strict=True)):
        wide, high = max(right - left, 1.0), max(bottom - top, 1.0)
        size = (math.ceil(high), math.ceil(wide))
        best, place = F.interpolate(maps[None], size=size, mode="bicubic", align_corners=False)[0].flatten(1).max(1)
        found[n, :, 0] = left + (place % size[1] + 0.5) * (wide / size[1])
        found[n, :, 1] = top + (place // size[1] + 0.5) * (high / size[0])
        found[n, :, 2] = best.sigmoid()
    return found


def _conv(before: int, after: int, *, normed: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(before, after, 3, padding=1, bias=not normed)]
    return nn.Sequential(*layers, *([nn.BatchNorm2d(after)] if normed else []), nn.ReLU())
