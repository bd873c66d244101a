"""Mask R-CNN: boxes and the exact pixels of one's own things, or their keypoints, trained on COCO's JSON or a table.

He et al. 2017, "Mask R-CNN" (arXiv:1703.06870): a network proposes regions, and heads say of each what it is, where its
box lies exactly, and which of its pixels are the thing's.
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
from recast.models.draws import rand
from recast.models.looks import Looks
from recast.models.losses.mask_rcnn import (
    Sample,
    Truth,
    mask_loss,
    point_loss,
    proposal_losses,
    region_losses,
    sampled_anchors,
    sampled_regions,
)
from recast.models.networks.mask_rcnn import MULTIPLE, MaskRCNN, Pooling
from recast.models.perception.proposals import proposed
from recast.models.pixels import to_range
from recast.models.recipes.framed import framed
from recast.models.recipes.jitter import recoloured
from recast.models.recipes.phases import Batch, Loss, Part, Phase
from recast.models.recipes.ranges import Count, Features, Pixels, Share, Weight, Within
from recast.models.recipes.recipe import Exported, Preview, RawExample, Recipe, RecipeAssets, RecipeConfig
from recast.models.recipes.truth import BOX_COLUMNS, CATEGORY_COLUMN, THING_COLUMNS, Things, mirrored, moved, shown
from recast.models.recipes.windows import Frame, Silhouette, cut, frame_of

BINS = 56
"""Rows and columns of the grid over a thing's box that its mask is kept on: twice as fine as what is learned."""
SHOWN = 0.3
"""Least score of the boxes that a preview shows."""
PROPOSAL_STD = 0.01
DROP = 0.1
"""What the learning rate is multiplied by at the end."""


@dataclass(frozen=True, kw_only=True)
class MaskRCNNConfig(RecipeConfig):
    """Settings of the mask_rcnn recipe."""

    layers: Literal[10, 18, 34, 50, 101] = 50
    """Layers of the ResNet that features are taken from."""
    width: Features = 64
    """Channels of its first stage."""
    channels: Features = 256
    """Channels of the feature pyramid and of the heads."""
    hidden: Features = 1024
    """Channels of the box head's last layer."""
    version: Literal[1, 2] = 1
    """Of torchvision's heads: 2 has batch norms and more convolutions (Li et al. 2021)."""
    learned: Literal["masks", "keypoints", "boxes"] = "masks"
    """What is learned of things besides their boxes."""
    point_width: Features = 512
    """Channels of the keypoints' head."""
    pooling: Pooling = "align"
    """How features of regions are taken: pool, rounded to whole pixels, is here to be compared with."""
    finest_anchor_px: Pixels = 32
    """Side of the smallest anchors; it doubles from level to level, four times."""
    size_px: Pixels = 1024
    """Side of the squares that are trained on, and the longer side of what the network is given later."""
    least_scale: Annotated[float, Within(0.05, 1)] = 0.6
    """Least side of a random square, in longer sides of the image."""
    most_scale: Annotated[float, Within(1, 4)] = 1.2
    """Largest side of a random square, in longer sides of the image."""
    most_things: Count = 100
    """Things of a square that count; the others, the smallest, are left out."""
    proposals: Count = 2000
    """Proposals of an image that its heads' regions are sampled from."""
    anchors_sampled: Count = 256
    """Anchors of an image that its proposals learn from, half of them of things."""
    regions_sampled: Count = 512
    """Regions of an image that its heads learn from, a quarter of them of things."""
    mirror: bool = True
    """Whether half of the squares are mirrored; keypoints called left_… and right_… are swapped then."""
    colour_jitter: Share = 0.0
    """How far brightness, contrast and saturation are changed at random."""
    frozen_norms: bool = False
    """Whether batch norms stay as they are: for a start from a network whose norms are right already, and few images a
    step."""
    momentum: Share = 0.9
    """Of the gradient descent."""
    weight_decay: Weight = 1e-4
    """Weight decay of all parameters."""
    lambda_masks: Weight = 1.0
    """Weight of the masks' loss."""
    warmup_steps: Annotated[int, Within(0, 1_000_000)] = 500
    """Steps in which the learning rate rises to its full height."""
    constant_share: Share = 0.75
    """Share of the steps at the full learning rate; then it is a tenth, and for the last tenth of the steps a
    hundredth."""


class InstanceSegmentation(Recipe):
    """min L_rpn + L_class + L_box + lambda L_mask (section 3), each a mean over what is sampled of an image."""

    images_per_example = 1
    regions = "things"
    columns = ("Input", "Found", "Truth")

    def __init__(self, config: MaskRCNNConfig, assets: RecipeAssets) -> None:
        assert assets.things is not None, "things are annotated"
        self.config, self.things = config, assets.things
        if config.learned == "keypoints" and not self.things.points:
            raise ValueError("keypoints are to be learned, and the annotations have none that is visible")
        if config.size_px % MULTIPLE:
            raise ValueError(f"size_px is {config.size_px}; it must be a multiple of {MULTIPLE}")
        arguments: dict[str, Any] = {
            "categories": len(self.things.categories),
            "layers": config.layers,
            "width": config.width,
            "channels": config.channels,
            "hidden": config.hidden,
            "version": config.version,
            "masks": config.learned == "masks",
            "points": len(self.things.points) if config.learned == "keypoints" else 0,
            "point_width": config.point_width,
            "finest_anchor_px": config.finest_anchor_px,
            "pooling": config.pooling,
        }
        network = MaskRCNN(**arguments)
        _initialised(network)
        self.networks = {"F": network}
        self._norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
        if config.frozen_norms:
            for norm in self._norms:
                norm.requires_grad_(False)
        self.optimizers = {
            "F": torch.optim.SGD(
                network.parameters(),
                lr=config.learning_rate,
                momentum=config.momentum,
                weight_decay=config.weight_decay,
            )
        }
        self.exported = Exported(
            name="F", network="mask_rcnn", arguments=arguments, descriptor=_descriptor(config, self.things)
        )

    @classmethod
    def masks_in(cls, config: MaskRCNNConfig) -> bool:
        return config.learned == "masks"

    def example(self, raw: RawExample, rng: np.random.Generator, *, augment: bool = True) -> dict[str, Tensor]:
        """x: [3, size, size], a square of the image, black beyond its borders; things: float32 [most_things, columns],
        NaN where there are no more; masks: uint8 [most_things, BINS, BINS] over their boxes, and masked: whether they
        are known, where masks are learned."""
        assert raw.regions is not None
        (image,), c = raw.images, self.config
        height, width = image.shape[:2]
        frame = Frame.whole(height, width)
        if augment:
            frame = frame_of(height, width, rng, least=c.least_scale, most=c.most_scale)
        pixels, scale, rows = cut(image, frame, c.size_px), c.size_px / frame.side, raw.regions.copy()
        rows[:, :BOX_COLUMNS] = rows[:, :BOX_COLUMNS].clip(0, (width, height) * 2)
        things, which = shown(moved(rows, (frame.left, frame.top), scale), c.size_px, c.most_things)
        made: dict[str, Tensor] = {}
        turned = augment and c.mirror and rng.random() < 0.5
        if raw.masks is not None:
            boxes = things[: len(which), :BOX_COLUMNS] / scale + np.tile((frame.left, frame.top), 2)
            masks, known = _gridded([raw.masks[place] for place in which], boxes, c.most_things)
            made = {"masks": torch.from_numpy(masks[..., ::-1].copy() if turned else masks)}
            made["masked"] = torch.from_numpy(known)
        if turned:
            pixels = pixels[:, ::-1]
            things[: len(which)] = mirrored(things[: len(which)], c.size_px, self.things.mirrored_points)
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        x = recoloured(x, rng, c.colour_jitter) if augment and c.colour_jitter else x
        return {"x": x, "things": torch.from_numpy(things), **made}

    def phases(self) -> Sequence[Phase]:
        return [Phase(optimizer="F", loss=self.f_loss)]

    def mixing(self) -> list[str]:
        return [] if self.config.frozen_norms else super().mixing()

    def f_loss(self, part: Part) -> Loss:
        c, batch, network = self.config, part.batch, self.networks["F"]
        assert isinstance(network, MaskRCNN)
        if c.frozen_norms:
            for norm in self._norms:
                norm.eval()
        x = to_range(batch["x"], 0, 1)
        features, logits, offsets = network(x)
        anchors = network.anchors(features, (c.size_px, c.size_px))
        everywhere = torch.cat(anchors)
        anchor_draws = rand(len(x), len(everywhere), device=x.device)
        region_draws = rand(len(x), c.proposals + c.most_things, device=x.device)
        losses: list[Tensor] = []
        taken: list[tuple[Tensor, Sample, Truth]] = []
        for n in range(len(x)):
            truth = self._truth(batch, n)
            own_logits, own_offsets = ([level[n] for level in levels] for levels in (logits, offsets))
            sampled = sampled_anchors(everywhere, truth, anchor_draws[n], c.anchors_sampled)
            losses += proposal_losses(torch.cat(own_logits), torch.cat(own_offsets), everywhere, sampled, truth)
            with torch.no_grad():
                rois = proposed(own_logits, own_offsets, anchors, (c.size_px, c.size_px), c.proposals)
                rois = torch.cat([rois, truth.boxes])
            regions = sampled_regions(rois, truth, region_draws[n], c.regions_sampled)
            taken.append((rois[regions.which], regions, truth))
        proposal = torch.stack(losses).view(len(x), 2).mean(0)
        heads = self._head_losses(network, features, taken)
        said = {"F proposals": proposal[0], "F proposal boxes": proposal[1], **heads}
        weights = {"F masks": c.lambda_masks}
        return torch.stack([weights.get(name, 1.0) * value for name, value in said.items()]).sum(), said

    def _head_losses(
        self, network: MaskRCNN, features: Sequence[Tensor], taken: Sequence[tuple[Tensor, Sample, Truth]]
    ) -> dict[str, Tensor]:
        """What the heads pay for the regions of all images, which they see together."""
        heads, learned = network.roi_heads, self.config.learned
        rois, images = _numbered([rois for rois, _, _ in taken])
        each = [len(rois) for rois, _, _ in taken]
        logits, offsets = (values.split(each) for values in heads.boxes(features, rois, images))
        of_regions = [
            region_losses(logits[n], offsets[n], own, sampled, truth) for n, (own, sampled, truth) in enumerate(taken)
        ]
        classes, boxes = (torch.stack(losses).mean() for losses in zip(*of_regions, strict=True))
        said = {"F classes": classes, "F boxes": boxes}
        if learned == "boxes":
            return said
        held = [own[: len(sampled.owners)] for own, sampled, _ in taken]
        loss, maps = (mask_loss, heads.mask_logits) if learned == "masks" else (point_loss, heads.point_logits)
        found = maps(features, *_numbered(held)).split([len(own) for own in held])
        of_held = [
            loss(found[n], held[n], sampled.owners, truth) + 0 * found[n].sum()  # so that all parameters are reached
            for n, (_, sampled, truth) in enumerate(taken)
        ]
        return said | {f"F {learned}": torch.stack(of_held).mean()}

    def _truth(self, batch: Batch, n: int) -> Truth:
        rows = batch["things"][n]
        there = ~torch.isnan(rows[:, 0])
        rows = rows[there].float()
        masks = self.config.learned == "masks"
        points = rows[:, THING_COLUMNS:].unflatten(1, (-1, 3)) if self.config.learned == "keypoints" else None
        return Truth(
            boxes=rows[:, :BOX_COLUMNS],
            categories=rows[:, CATEGORY_COLUMN].long(),
            masks=batch["masks"][n][there] if masks else None,
            masked=batch["masked"][n][there] if masks else None,
            points=points,
        )

    def lr_factor(self, step: int) -> float:
        """It rises to the full rate, falls to a tenth, and at the very end to a hundredth."""
        c = self.config
        done = step / c.steps
        factor = 1.0 if done < c.constant_share else DROP if done < (9 + c.constant_share) / 10 else DROP**2
        return factor * min(1.0, (step + 1) / (c.warmup_steps + 1))

    def preview(self, batch: Batch, generator: nn.Module) -> Preview:
        """An image; the boxes that are found there; those that are there."""
        assert isinstance(generator, MaskRCNN)
        x = to_range(batch["x"], 0, 1)
        found = [each.boxes for each in generator.found(x, SHOWN)]
        there = [rows[~torch.isnan(rows[:, 0]), :BOX_COLUMNS] for rows in batch["things"]]
        return Preview(x, framed(x, found), framed(x, there))


def _initialised(network: MaskRCNN) -> None:
    """Draw convolutions as the public training does: He et al. 2015's normal numbers, and N(0, 0.01) where regions are
    proposed; biases 0."""
    proposing = set(network.rpn.modules())
    for module in network.modules():
        if not isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        if module in proposing:
            nn.init.normal_(module.weight, std=PROPOSAL_STD)
        else:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _gridded(masks: Sequence[Silhouette | None], boxes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks of things over boxes [n, 4] in pixels of the image -> uint8 [most, BINS, BINS], and whether known."""
    made, known = np.zeros((most, BINS, BINS), np.uint8), np.zeros(most, bool)
    for place, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        if mask is not None:
            made[place], known[place] = mask.over(box, BINS), True
    return made, known


def _numbered(regions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The regions of all images together, [R, 4], and which image each is of, int64 [R]."""
    counts = torch.tensor([len(own) for own in regions], device=regions[0].device)
    return torch.cat(list(regions)), torch.arange(len(regions), device=counts.device).repeat_interleave(counts)


def _descriptor(config: MaskRCNNConfig, things: Things) -> Descriptor:
    pointed = config.learned == "keypoints"
    looks = Looks(
        categories=things.categories,
        points=things.points if pointed else (),
        limbs=things.limbs if pointed else (),
        size_px=config.size_px,
    )
    return Descriptor(task="annotate", size_multiple=MULTIPLE, min_size_px=MULTIPLE, looks=looks)


PAPER = MaskRCNNConfig(steps=math.ceil(118_287 / 16) * 12, batch_size=16, learning_rate=0.02)
"""ResNet-50 with a feature pyramid on COCO: 16 images a step, 12 epochs, squares of 1,024 px where the paper has 800 to
1,333. The paper's starts from ImageNet's weights with frozen norms: `--start-from` an imported bundle, and
`--set frozen_norms=true`."""

TINY = MaskRCNNConfig(
    steps=1_200, batch_size=4, learning_rate=0.02, layers=10, width=16, channels=64, hidden=128, point_width=64,
    size_px=256, finest_anchor_px=16, most_scale=1.1, most_things=32, proposals=200, anchors_sampled=64,
    regions_sampled=48, colour_jitter=0.2, warmup_steps=100,
)  # fmt: skip
"""Drawn streets (`recast sample street`) in minutes on two CPU cores: ResNet-10, 256 px."""

POSE = dataclasses.replace(TINY, learned="keypoints", steps=2_000)
"""Boxes and keypoints of drawn people on a CPU."""

LEAST = dataclasses.replace(
    TINY, steps=6, batch_size=2, size_px=64, width=4, channels=4, hidden=8, point_width=4, most_things=6, proposals=20,
    anchors_sampled=16, regions_sampled=12, warmup_steps=0,
)  # fmt: skip
"""For tests: seconds on a CPU; learns next to nothing."""

PRESETS = {"paper": PAPER, "tiny": TINY, "pose": POSE, "least": LEAST}
