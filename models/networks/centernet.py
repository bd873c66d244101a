"""CenterNet: every thing is a point, its box's centre, a peak of a heat map; its size and its joints are read there.

Zhou et al. 2019, "Objects as Points" (arXiv:1904.07850). Heads are named as in the public repository.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.networks.hourglass import StackedHourglass
from recast.models.networks.pyramid import FeaturePyramid
from recast.models.networks.resnet import STRIDES, ResNet
from recast.models.perception.boxes import clipped
from recast.models.perception.findings import Findings, finite
from recast.models.perception.heatmaps import peaks

STRIDE = 4
"""Image pixels a pixel of the maps (section 3: R)."""
TRUNKS = {"resnet10": 10, "resnet18": 18, "resnet34": 34, "resnet50": 50, "resnet101": 101, "hourglass": 0}
"""What features may come from, with the layers of a ResNet."""
MEAN, STD = (0.470, 0.447, 0.408), (0.278, 0.274, 0.289)
"""The public repository's, of red, green and blue in [0, 1]."""
PRIOR_BIAS = -2.19
"""Bias of heat maps: their scores begin at 0.1 (Law and Deng 2018, section 4.1)."""
MOST_FINDINGS = 100
"""Things of an image, the likeliest ones (section 4)."""
LEAST_JOINT = 0.1
"""Least score of a peak that a joint moves to (section 4.2)."""
JOINT_REACH = 0.3
"""How far from where it was regressed to a joint may move, in longer sides of its box (the public repository's)."""


class Maps(NamedTuple):
    """What the heads say of each pixel, each [N, C, H / 4, W / 4]; sizes and offsets in pixels of the maps."""

    heat: Tensor
    """Logits of a centre, of each category."""
    size: Tensor
    """Width and height of the box."""
    offset: Tensor
    """x and y of the centre within the pixel."""
    joints: Tensor | None = None
    """x and y of each joint from the centre's pixel, [N, 2 K, …]."""
    joint_heat: Tensor | None = None
    """Logits of each joint, of whatever thing."""
    joint_offset: Tensor | None = None
    """x and y of a joint within its pixel."""


class CenterNet(nn.Module):
    """RGB images [N, 3, H, W] in [0, 1] -> `Maps`, one for each stack of its trunk; H and W multiples of `multiple`."""

    def __init__(
        self, *, categories: int, points: int = 0, trunk: str = "resnet18", width: int = 64, head: int = 64
    ) -> None:
        """
        Args:
            categories: how many kinds of things it finds.
            points: joints of each thing; 0: boxes alone.
            trunk: one of TRUNKS.
            width: of a ResNet, the channels of its first stage; an hourglass has the paper's widths.
            head: channels of the features that heads see, and of the heads; an hourglass has 256.

        Raises:
            ValueError: no such trunk.
        """
        super().__init__()
        if trunk not in TRUNKS:
            raise ValueError(f"trunk is {trunk!r}; it must be one of {', '.join(TRUNKS)}")
        self.trunk = StackedHourglass() if trunk == "hourglass" else _Pyramid(TRUNKS[trunk], width, head)
        self.multiple = self.trunk.multiple
        outputs = {"hm": categories, "wh": 2, "reg": 2}
        if points:
            outputs |= {"hps": 2 * points, "hm_hp": points, "hp_offset": 2}
        stacks = 2 if trunk == "hourglass" else 1
        inner = self.trunk.channels if trunk == "hourglass" else head
        for name, channels in outputs.items():
            self.add_module(name, nn.ModuleList(_head(inner, channels, heat="hm" in name) for _ in range(stacks)))
        self._heads = tuple(outputs)

    def forward(self, images: Tensor) -> list[Maps]:
        mean, std = (images.new_tensor(values).view(3, 1, 1) for values in (MEAN, STD))
        features = self.trunk((images - mean) / std)
        return [Maps(*(self.get_submodule(f"{name}.{n}")(x) for name in self._heads)) for n, x in enumerate(features)]

    def found(self, images: Tensor, floor: float) -> list[Findings]:
        """The things in each image, without any suppression: a peak is one thing (section 4). See `Looking`.

        Raises:
            FloatingPointError: the maps are not finite.
        """
        maps = self(images)[-1]
        finite(*(each for each in maps if each is not None))
        return decoded(maps, floor)


def decoded(maps: Maps, floor: float) -> list[Findings]:
    """Things by their centres, at most MOST_FINDINGS an image with scores of at least `floor`, in image pixels."""
    heat = maps.heat.float().sigmoid()
    height, width = heat.shape[2:]
    count = min(MOST_FINDINGS, heat[0].numel())
    scores, categories, y, x = peaks(heat, count)
    place = y * width + x
    pixel = torch.stack([x, y], -1).float()
    centre = pixel + at(maps.offset, place)
    half = at(maps.size, place).clamp_min(0) / 2
    boxes = torch.cat([centre - half, centre + half], -1)
    points = None if maps.joints is None else _joints(maps, pixel, place, boxes)
    found = []
    for n in range(len(heat)):
        kept = (scores[n] >= floor) & (scores[n] > 0)
        found.append(
            Findings(
                boxes=clipped(boxes[n][kept] * STRIDE, height * STRIDE, width * STRIDE),
                scores=scores[n][kept],
                categories=categories[n][kept],
                points=None if points is None else points[n][kept],
            )
        )
    return found


def at(maps: Tensor, places: Tensor) -> Tensor:
    """The values of maps [N, C, H, W] at pixels, numbered row by row, int64 [N, M] -> float32 [N, M, C]."""
    flat = maps.float().flatten(2).transpose(1, 2)
    return flat.gather(1, places[..., None].expand(-1, -1, flat.shape[2]))


def _joints(maps: Maps, pixel: Tensor, place: Tensor, boxes: Tensor) -> Tensor:
    """x, y in image pixels and the score of each joint, [N, M, K, 3].

    Section 4.2: a joint lies where the centre says, and moves to the nearest peak of its heat map inside the box; it
    stays, with the score of its own pixel, where there is none near.
    """
    assert maps.joints is not None
    assert maps.joint_heat is not None
    assert maps.joint_offset is not None
    heat = maps.joint_heat.float().sigmoid()
    many, joints, height, width = heat.shape
    regressed = pixel[:, :, None] + at(maps.joints, place).unflatten(-1, (joints, 2))
    count = min(MOST_FINDINGS, height * width)
    scores, _, y, x = peaks(heat.flatten(0, 1)[:, None], count)
    scores, y, x = (values.unflatten(0, (many, joints)) for values in (scores, y, x))
    offsets = at(maps.joint_offset, (y * width + x).flatten(1)).unflatten(1, (joints, count))
    peak = torch.stack([x, y], -1).float() + offsets
    near, distance = _nearest(regressed, peak, scores, boxes)
    reach = JOINT_REACH * (boxes[..., 2:] - boxes[..., :2]).amax(-1)
    moved = distance <= reach[:, :, None]
    everywhere = peak[:, None].expand(-1, near.shape[1], -1, -1, -1)
    snapped = everywhere.gather(3, near[..., None, None].expand(*near.shape, 1, 2))[..., 0, :]
    snapped_score = scores[:, None].expand(-1, near.shape[1], -1, -1).gather(3, near[..., None])[..., 0]
    own = regressed.floor().long().clamp_min(0)
    own_place = own[..., 1].clamp_max(height - 1) * width + own[..., 0].clamp_max(width - 1)
    own_score = heat.flatten(2).gather(2, own_place.transpose(1, 2)).transpose(1, 2)
    where = torch.where(moved[..., None], snapped, regressed) * STRIDE
    return torch.cat([where, torch.where(moved, snapped_score, own_score)[..., None]], -1)


def _nearest(regressed: Tensor, peak: Tensor, scores: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The peak that each joint [N, M, K, 2] is nearest to among those [N, K, P, 2] that are likely and in its box: its
    number and how far it is, both [N, M, K]; infinitely far where there is none."""
    away = (regressed[:, :, :, None] - peak[:, None]).square().sum(-1).sqrt()
    low, high = (corner[:, :, None, None] for corner in (boxes[..., :2], boxes[..., 2:]))
    inside = ((peak[:, None] >= low) & (peak[:, None] <= high)).all(-1)
    likely = (scores > LEAST_JOINT)[:, None]
    distance, near = away.masked_fill(~(inside & likely), torch.inf).min(-1)
    return near, distance


class _Pyramid(nn.Module):
    """A ResNet's features, joined at a stride of 4 by a feature pyramid."""

    multiple = STRIDES[-1]

    def __init__(self, layers: int, width: int, out: int) -> None:
        super().__init__()
        self.channels = out
        self.body = ResNet(layers, width=width)
        self.fpn = FeaturePyramid(self.body.channels, out, finest=True)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [F.relu(self.fpn(self.body(x))[0])]


class _Conv(nn.Module):
    """A 3 x 3 convolution with a bias, and ReLU."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


def _head(inner: int, channels: int, *, heat: bool) -> nn.Sequential:
    last = nn.Conv2d(inner, channels, 1)
    if heat:
        nn.init.constant_(last.bias, PRIOR_BIAS)  # type: ignore[arg-type]  # it has one
    return nn.Sequential(_Conv(inner, inner), last)
