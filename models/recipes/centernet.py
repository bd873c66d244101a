"""CenterNet: a detector of one's own things, trained on COCO's JSON or a table of boxes; with keypoints, of poses.

Zhou et al. 2019, "Objects as Points" (arXiv:1904.07850): a thing is the centre of its box, a peak of a heat map.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.looks import Looks
from recast.models.losses.centernet import Targets, joint_losses, thing_losses
from recast.models.networks.centernet import STRIDE, CenterNet
from recast.models.pixels import to_range
from recast.models.recipes.framed import framed
from recast.models.recipes.jitter import recoloured
from recast.models.recipes.phases import Batch, Loss, Part, Phase, Road
from recast.models.recipes.ranges import Count, Features, Pixels, Share, Weight, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig
from recast.models.recipes.truth import BOX_COLUMNS, Things, mirrored, moved, shown
from recast.models.recipes.windows import Frame, cut, frame_of

SHOWN = 0.3
"""Least score of the boxes that a preview shows."""
DROP = 0.1
"""What the learning rate is multiplied by at the end (section 5)."""


@dataclass(frozen=True, kw_only=True)
class CenterNetConfig(RecipeConfig):
    """Settings of the centernet recipe."""

    trunk: Literal["resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "hourglass"] = "hourglass"
    """Network that features are taken from."""
    width: Features = 64
    """Channels of a ResNet's first stage; an hourglass has the paper's."""
    head: Features = 64
    """Channels of the heads and of the features that they see; an hourglass has 256."""
    keypoints: bool = False
    """Whether keypoints are learned, too: poses."""
    size_px: Pixels = 512
    """Side of the squares that are trained on, and the longer side of what the network is given later."""
    least_scale: Annotated[float, Within(0.05, 1)] = 0.6
    """Least side of a random square, in longer sides of the image."""
    most_scale: Annotated[float, Within(1, 4)] = 1.4
    """Largest side of a random square, in longer sides of the image."""
    most_things: Count = 128
    """Things of a square that count; the others, the smallest, are left out."""
    mirror: bool = True
    """Whether half of the squares are mirrored; keypoints called left_… and right_… are swapped then."""
    colour_jitter: Share = 0.4
    """How far brightness, contrast and saturation are changed at random."""
    overlap: Annotated[float, Within(0, 1, open=True)] = 0.7
    """Overlap with itself that a box keeps as its corners are moved by the radius of its Gaussian."""
    radius: Literal["cornernet", "centernet"] = "cornernet"
    """Formula of that radius: cornernet has the right roots; centernet is what the public networks were trained with,
    and gives larger ones."""
    lambda_size: Weight = 0.1
    """Weight of the sizes' loss."""
    lambda_offset: Weight = 1.0
    """Weight of the offsets' loss."""
    constant_share: Share = 0.8
    """Share of the steps at the full learning rate; then it is a tenth, and falls linearly to 0."""


class ThingDetection(Recipe):
    """min L_k + lambda_size L_size + lambda_off L_off (equation 4), and three more for joints (section 4.2)."""

    images_per_example = 1
    regions = "things"
    columns = ("Input", "Found", "Truth")

    def __init__(self, config: CenterNetConfig, assets: RecipeAssets) -> None:
        assert assets.things is not None, "things are annotated"
        self.config, self.things = config, assets.things
        if config.keypoints and not self.things.points:
            raise ValueError("keypoints are to be learned, and the annotations have none that is visible")
        arguments: dict[str, Any] = {
            "categories": len(self.things.categories),
            "points": len(self.things.points) if config.keypoints else 0,
            "trunk": config.trunk,
            "width": config.width,
            "head": config.head,
        }
        network = CenterNet(**arguments)
        if config.size_px % network.multiple:
            multiple = f"for {config.trunk} it must be a multiple of {network.multiple}"
            raise ValueError(f"size_px is {config.size_px}; {multiple}")
        self.networks = {"F": network}
        self.optimizers = {"F": torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)}
        self.exported = Exported(
            name="F", network="centernet", arguments=arguments, descriptor=_descriptor(config, self.things, network)
        )

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x: [3, size, size], a square of the image, black beyond its borders; things: float32 [most_things, columns],
        NaN where there are no more."""
        assert raw.regions is not None
        (image,), c = raw.images, self.config
        height, width = image.shape[:2]
        frame = Frame.whole(height, width)
        if augment:
            frame = frame_of(height, width, rng, least=c.least_scale, most=c.most_scale)
        pixels = cut(image, frame, c.size_px)
        rows = moved(raw.regions, (frame.left, frame.top), c.size_px / frame.side)
        if augment and c.mirror and rng.random() < 0.5:
            pixels, rows = pixels[:, ::-1], mirrored(rows, c.size_px, self.things.mirrored_points)
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        return {
            "x": recoloured(x, rng, c.colour_jitter) if augment else x,
            "things": torch.from_numpy(shown(rows, c.size_px, c.most_things)[0]),
        }

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="F", loss=self.f_loss)]

    def _targets(self, things: Tensor) -> Targets:
        c = self.config
        return Targets.of(
            things,
            categories=len(self.things.categories),
            points=len(self.things.points) if c.keypoints else 0,
            side=c.size_px // STRIDE,
            overlap=c.overlap,
            formula=c.radius,
        )

    def prepared(self, batch: Batch, road: Road) -> Batch:
        """With how many things, and how many visible joints, are in the batches of all workers together."""
        targets = self._targets(batch["things"])
        things, joints = road.total(targets.counts).clamp_min(1)
        return batch | {"things_in_all": things, "joints_in_all": joints}

    def f_loss(self, part: Part) -> Loss:
        c, batch = self.config, part.batch
        targets = self._targets(batch["things"])
        stacks = self.networks["F"](to_range(batch["x"], 0, 1))
        things = batch["things_in_all"] * part.fraction * len(stacks)
        three = zip(*(thing_losses(maps, targets) for maps in stacks), strict=True)
        heat, size, offset = (torch.stack(losses).sum() / things for losses in three)
        loss = heat + c.lambda_size * size + c.lambda_offset * offset
        said = {"F heat map": heat, "F size": size, "F offset": offset}
        if c.keypoints:
            joints = batch["joints_in_all"] * part.fraction * len(stacks)
            three = zip(*(joint_losses(maps, targets) for maps in stacks), strict=True)
            regressed, joint_heat, joint_offset = (torch.stack(losses).sum() / joints for losses in three)
            loss = loss + regressed + joint_heat + c.lambda_offset * joint_offset
            said |= {"F joints": regressed, "F joint heat map": joint_heat, "F joint offset": joint_offset}
        return loss, said

    def lr_factor(self, step: int) -> float:
        """The full rate; towards the end a tenth, which falls to 0."""
        left = (self.config.steps - step) / max(1.0, self.config.steps * (1 - self.config.constant_share))
        return 1.0 if left > 1 else DROP * left

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """An image; the boxes that are found there; those that are there."""
        assert isinstance(generator, CenterNet)
        x = to_range(batch["x"], 0, 1)
        found = [each.boxes for each in generator.found(x, SHOWN)]
        there = [rows[~torch.isnan(rows[:, 0]), :BOX_COLUMNS] for rows in batch["things"]]
        return Preview(x, framed(x, found), framed(x, there))


def _descriptor(config: CenterNetConfig, things: Things, network: CenterNet) -> Descriptor:
    looks = Looks(
        categories=things.categories,
        points=things.points if config.keypoints else (),
        limbs=things.limbs if config.keypoints else (),
        size_px=config.size_px,
    )
    return Descriptor(task="annotate", size_multiple=network.multiple, min_size_px=network.multiple, looks=looks)


PAPER = CenterNetConfig(steps=math.ceil(118_287 / 24) * 50, batch_size=24, learning_rate=2.5e-4, radius="centernet")
"""Hourglass-104 on COCO: 512 px, 24 images a step, 50 epochs, a tenth of the rate from the 40th on (the paper's starts
from another network's weights). 40.3 AP in the paper's code; days on several GPUs."""

RESNET18 = dataclasses.replace(
    PAPER, steps=math.ceil(118_287 / 128) * 140, batch_size=128, learning_rate=5e-4, trunk="resnet18", head=64
)
"""ResNet-18 with a feature pyramid in place of the paper's deformable convolutions: 128 images a step, 140 epochs."""

TINY = CenterNetConfig(
    steps=1_500, batch_size=8, learning_rate=1e-3, trunk="resnet10", width=16, head=32, size_px=256,
    least_scale=0.6, most_scale=1.2, most_things=32, overlap=0.3, colour_jitter=0.2,
)  # fmt: skip
"""Drawn streets (`recast sample street`) in minutes on two CPU cores: ResNet-10, 256 px."""

PLATE = dataclasses.replace(TINY, size_px=384, least_scale=0.4, steps=2_000)
"""Things of a few pixels, such as licence plates, by a table of boxes: 384 px, squares down to 0.4 of an image."""

POSE = dataclasses.replace(TINY, keypoints=True, steps=3_000, head=48)
"""Boxes and keypoints of drawn people on a CPU."""

LEAST = dataclasses.replace(TINY, steps=6, batch_size=2, size_px=64, width=4, head=4, most_things=6)
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"paper": PAPER, "resnet18": RESNET18, "tiny": TINY, "plate": PLATE, "pose": POSE, "least": LEAST}
