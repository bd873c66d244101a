"""A face detector of one's own: RetinaFace, trained on images and a table of the faces in them.

Deng et al. 2020, "RetinaFace: single-shot multi-level face localisation in the wild" (arXiv:1905.00641), with the
settings of Pytorch_Retinaface.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.faces import FACE_COLUMNS, mirrored
from recast.models.losses.multibox import counted, multibox, owned
from recast.models.networks.retinaface import RetinaFace, anchors, decoded
from recast.models.pixels import to_range
from recast.models.recipes.decay import constant_then_linear
from recast.models.recipes.framed import framed
from recast.models.recipes.jitter import recoloured
from recast.models.recipes.phases import Batch, Loss, Part, Phase, Road
from recast.models.recipes.ranges import Count, Pixels, Share, Weight, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig

LEAST_FACE_PX = 5.0
"""Faces that a cut leaves smaller are not asked for."""
SHOWN = 0.5
"""Least probability of the boxes that a preview shows."""


@dataclass(frozen=True, kw_only=True)
class RetinaFaceConfig(RecipeConfig):
    """Settings of the retinaface recipe."""

    backbone: Literal["mobilenet0.25", "resnet50"] = "mobilenet0.25"
    """Network that features are taken from."""
    size_px: Pixels = 640
    """Side of the squares that are trained on."""
    least_share: Annotated[float, Within(1e-3, 1)] = 0.3
    """Least side of a random square, as a share of the image's shorter side."""
    most_faces: Count = 64
    """Faces of a square that count; the others, the smallest, are left out."""
    colour_jitter: Share = 0.3
    """How far brightness, contrast and saturation are changed at random."""
    weight_decay: Weight = 5e-4
    """Weight decay of AdamW."""
    lambda_boxes: Weight = 2.0
    """Weight of the boxes' loss."""
    constant_share: Share = 0.6
    """Share of the steps at the full learning rate; then it falls linearly to 0."""


class FaceDetection(Recipe):
    """min L_class + lambda L_boxes + L_landmarks over the anchors (equation 1)."""

    images_per_example = 1
    regions = "all"

    def __init__(self, config: RetinaFaceConfig, assets: RecipeAssets) -> None:
        self.config = config
        arguments = {"backbone": config.backbone}
        self.networks = {"F": RetinaFace(backbone=config.backbone)}
        self.optimizers = {"F": torch.optim.AdamW(
            self.networks["F"].parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )}  # fmt: skip
        self.anchors = anchors(config.size_px, config.size_px)
        descriptor = Descriptor(task="detect", size_multiple=32, min_size_px=32, value_range=(0.0, 255.0))
        self.exported = Exported(name="F", network="retinaface", arguments=arguments, descriptor=descriptor)

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x: [3, size, size], a square of the image; faces: float32 [most_faces, 14], NaN where there are no more."""
        assert raw.regions is not None
        (image,), c = raw.images, self.config
        height, width = image.shape[:2]
        side, left, top = float(max(height, width)), 0.0, 0.0
        if augment:
            side = min(height, width) * rng.uniform(c.least_share, 1.0)
            left, top = rng.uniform(0, width - side), rng.uniform(0, height - side)
        scale = c.size_px / side
        if augment:
            box = (left, top, left + side, top + side)
            cut = np.asarray(Image.fromarray(image).resize((c.size_px, c.size_px), Image.Resampling.BILINEAR, box=box))
        else:
            small = Image.fromarray(image).resize((round(width * scale), round(height * scale)))
            cut = np.zeros((c.size_px, c.size_px, 3), np.uint8)
            cut[: small.height, : small.width] = np.asarray(small)
        rows = self._within(raw.regions, np.array([left, top], np.float32), scale)
        if augment and rng.random() < 0.5:
            cut, rows = cut[:, ::-1], mirrored(rows, c.size_px)
        x = torch.from_numpy(np.ascontiguousarray(cut.transpose(2, 0, 1)))
        return {"x": recoloured(x, rng, c.colour_jitter) if augment else x, "faces": torch.from_numpy(rows)}

    def _within(self, faces: np.ndarray, corner: np.ndarray, scale: float) -> np.ndarray:
        """The faces whose middle is in a square, in its pixels, the largest first."""
        c = self.config
        moved = (faces - np.tile(corner, FACE_COLUMNS // 2)) * np.float32(scale)
        middle, size = (moved[:, :2] + moved[:, 2:4]) / 2, moved[:, 2:4] - moved[:, :2]
        kept = ((middle >= 0) & (middle < c.size_px)).all(1) & (size.min(1) >= LEAST_FACE_PX)
        moved = moved[kept][np.argsort(-size[kept].prod(1), kind="stable")][: c.most_faces]
        moved[:, :4] = moved[:, :4].clip(0, c.size_px)
        rows = np.full((c.most_faces, FACE_COLUMNS), np.nan, np.float32)
        rows[: len(moved)] = moved
        return rows

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="F", loss=self.f_loss)]

    def prepared(self, batch: Batch, road: Road) -> Batch:
        """With the face that each anchor answers for, and how many do in the batches of all workers together."""
        self.anchors = self.anchors.to(batch["faces"].device)
        owners = owned(self.anchors, batch["faces"])
        matched, landmarked = road.total(counted(owners, batch["faces"])).clamp_min(1)
        return batch | {"owners": owners, "matched": matched, "landmarked": landmarked}

    def f_loss(self, part: Part) -> Loss:
        batch = part.batch
        boxes, logits, landmarks = self.networks["F"](to_range(batch["x"], 0, 255))
        f_class, f_boxes, f_landmarks = multibox(
            boxes, logits, landmarks, self.anchors, batch["faces"], batch["owners"]
        )
        f_class = f_class / (batch["matched"] * part.fraction)
        f_boxes = f_boxes / (batch["matched"] * part.fraction)
        f_landmarks = f_landmarks / (batch["landmarked"] * part.fraction)
        loss = f_class + self.config.lambda_boxes * f_boxes + f_landmarks
        return loss, {"F class": f_class, "F boxes": f_boxes, "F landmarks": f_landmarks}

    def lr_factor(self, step: int) -> float:
        warm = min(1.0, (step + 1) / (0.02 * self.config.steps + 1))
        return warm * constant_then_linear(step, self.config.steps, self.config.constant_share)

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """An image; the anchors' boxes that are likely faces; the faces that are there."""
        x = to_range(batch["x"], 0, 1)
        boxes, logits, landmarks = generator(to_range(batch["x"], 0, 255))
        corners, _ = decoded(boxes.float(), landmarks.float(), self.anchors.to(boxes.device))
        likely = logits.float().softmax(-1)[..., 1] > SHOWN
        found = [rows[chosen] for rows, chosen in zip(corners, likely, strict=True)]
        there = [rows[~torch.isnan(rows[:, 0]), :4] for rows in batch["faces"]]
        return Preview(x, framed(x, found), framed(x, there))


PAPER = RetinaFaceConfig(
    steps=math.ceil(12_880 / 24) * 250, batch_size=24, learning_rate=1e-3, backbone="resnet50", size_px=840
)
"""Pytorch_Retinaface on WIDER FACE: ResNet-50, 840 px, 24 images a step, 250 epochs (it uses SGD; AdamW here)."""

MOBILE = dataclasses.replace(PAPER, backbone="mobilenet0.25", size_px=640, batch_size=32)
"""The same with MobileNet at a quarter of its width: 640 px, 32 images a step."""

TINY = dataclasses.replace(
    MOBILE, steps=1_200, batch_size=8, learning_rate=2e-3, size_px=192, most_faces=16, least_share=0.45
)
"""Drawn scenes (`recast sample faces`) in minutes on two CPU cores."""

LEAST = dataclasses.replace(TINY, steps=6, batch_size=2, size_px=64, most_faces=4)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"paper": PAPER, "mobile": MOBILE, "tiny": TINY, "least": LEAST}
