"""What a detector by anchors pays: for the wrong class, for boxes and for landmarks that are off."""

import torch
import torch.nn.functional as F
from torch import Tensor

from recast.models.networks.retinaface import encoded
from recast.models.perception.boxes import corners, iou, with_best
from recast.models.perception.boxes import matched as best_matched

MATCHED = 0.35
"""An anchor that overlaps a face by so much answers for it (the public training's threshold)."""
NEGATIVES = 7
"""For each anchor that answers for a face, so many of the hardest others count (OHEM)."""


def multibox(
    boxes: Tensor, logits: Tensor, landmarks: Tensor, anchors: Tensor, faces: Tensor, owners: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses of class, boxes and landmarks, each a sum over the anchors; to be divided by what `counted` gives.

    Liu et al. 2016 (SSD, arXiv:1512.02325), section 2.2, with RetinaFace's landmarks (equation 1).

    Args:
        boxes, logits, landmarks: [N, A, 4], [N, A, 2] and [N, A, 10], as `RetinaFace` gives them.
        anchors: [A, 4].
        faces: [N, M, 14], boxes and landmarks in pixels; NaN in the first column where there is no face, NaN landmarks
            where they are not known.
        owners: [N, A], as `owned` gives them.
    """
    loss_class, loss_boxes, loss_landmarks = (boxes.new_zeros(()) for _ in range(3))
    for n, owner in enumerate(owners):
        there, positive = _there(faces[n]), owner >= 0
        count = int(positive.sum())
        surprise = F.cross_entropy(logits[n].float(), positive.long(), reduction="none")
        hardest = surprise.detach().masked_fill(positive, -1.0)
        negatives = min(NEGATIVES * max(count, 1), len(anchors) - count)
        loss_class = loss_class + surprise[positive].sum() + surprise[hardest.topk(negatives).indices].sum()
        mine = there[owner[positive]]
        known = torch.isfinite(mine[:, 4:]).all(1)
        wanted, points = encoded(mine[:, :4], mine[:, 4:].nan_to_num(), anchors[positive])
        loss_boxes = loss_boxes + F.smooth_l1_loss(boxes[n][positive].float(), wanted, reduction="sum")
        off = F.smooth_l1_loss(landmarks[n][positive].float(), points, reduction="none").sum(1)
        loss_landmarks = loss_landmarks + (off * known).sum()
    return loss_class, loss_boxes, loss_landmarks


def owned(anchors: Tensor, faces: Tensor) -> Tensor:
    """Which of an image's faces [N, M, 14] each anchor [A, 4] answers for, int64 [N, A]; -1: none."""
    return torch.stack([matched(anchors, _there(each)[:, :4]) for each in faces])


def counted(owners: Tensor, faces: Tensor) -> Tensor:
    """How many anchors answer for a face, and how many for one with known landmarks: float [2]."""
    landmarked = [
        torch.isfinite(_there(each)[owner[owner >= 0], 4:]).all(1).sum()
        for owner, each in zip(owners, faces, strict=True)
    ]
    return torch.stack([(owners >= 0).sum(), torch.stack(landmarked).sum()]).float()


def _there(faces: Tensor) -> Tensor:
    return faces[~torch.isnan(faces[:, 0])]


def matched(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Which box [M, 4] each anchor [A, 4] (centre, size) answers for, int64 [A]; -1: none.

    An anchor answers for the box that it overlaps most, if by MATCHED; and for every box, its best anchor does.
    """
    overlaps = iou(corners(anchors), boxes)
    return with_best(best_matched(overlaps, MATCHED), overlaps)
