"""What CenterNet pays: for heat maps that are off, and at the centres for wrong sizes, offsets and joints.

Zhou et al. 2019 (arXiv:1904.07850), equations 1 to 4 and section 4.2. All losses are sums.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recast.models.networks.centernet import STRIDE, Maps, at
from recast.models.perception.heatmaps import Formula, class_maps, focal_loss, gaussians, iou_radius, sigma_of

Losses = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What the maps of N images should say, for up to M things in each; sizes and offsets in pixels of the maps."""

    heat: Tensor
    """[N, C, H, W] in [0, 1], 1 at centres."""
    there: Tensor
    """bool [N, M]: which of the M there are."""
    place: Tensor
    """int64 [N, M]: the pixels of the centres, numbered row by row."""
    size: Tensor
    """[N, M, 2]: width and height."""
    offset: Tensor
    """[N, M, 2]."""
    joints: Tensor
    """[N, M, K, 2]: from the centre's pixel."""
    seen: Tensor
    """bool [N, M, K]: joints that are known and in the image."""
    joint_heat: Tensor
    """[N, K, H, W]."""
    joint_place: Tensor
    """int64 [N, M, K]."""
    joint_offset: Tensor
    """[N, M, K, 2]."""

    @property
    def counts(self) -> Tensor:
        """How many things there are, and how many joints: float [2]."""
        return torch.stack([self.there.sum(), self.seen.sum()]).float()

    @classmethod
    def of(
        cls, things: Tensor, *, categories: int, points: int, side: int, overlap: float, formula: Formula
    ) -> "Targets":
        """
        Args:
            things: [N, M, columns] in pixels of the image (`truth.Things`), NaN in the first where there is none.
            categories, points: how many there are.
            side: of the maps in pixels.
            overlap, formula: of the Gaussians' radii, as `iou_radius` takes them.
        """
        there = ~torch.isnan(things[..., 0])
        known = things.nan_to_num()
        boxes, category = known[..., :4] / STRIDE, known[..., 4].long()
        centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        pixel = centre.floor().clamp(0, side - 1)
        radii = iou_radius(size.flatten(0, 1).flip(1).ceil(), overlap, formula).floor().clamp_min(0).view(there.shape)
        joint = known[..., 5 : 5 + 3 * points].reshape(*there.shape, points, 3)
        where = joint[..., :2] / STRIDE
        inside = ((where >= 0) & (where < side)).all(-1)
        seen = (joint[..., 2] > 0) & inside & there[..., None]
        joint_pixel = where.floor().clamp(0, side - 1)
        return cls(
            heat=torch.stack([
                _heat(pixel[n], radii[n], there[n], category[n], categories, side) for n in range(len(things))
            ]),
            there=there,
            place=_place(pixel, side),
            size=size,
            offset=centre - pixel,
            joints=where - pixel[:, :, None],
            seen=seen,
            joint_heat=torch.stack([_joint_heat(joint_pixel[n], radii[n], seen[n], side) for n in range(len(things))]),
            joint_place=_place(joint_pixel, side),
            joint_offset=where - joint_pixel,
        )  # fmt: skip


def _place(pixel: Tensor, side: int) -> Tensor:
    x, y = pixel.long().unbind(-1)
    return y * side + x


def _heat(pixel: Tensor, radii: Tensor, there: Tensor, classes: Tensor, count: int, side: int) -> Tensor:
    """The heat map of one image's things, [count, side, side]."""
    drawn = gaussians(pixel[there], sigma_of(radii[there]), radii[there], side, side)
    return class_maps(drawn, classes[there], count)


def _joint_heat(pixel: Tensor, radii: Tensor, seen: Tensor, side: int) -> Tensor:
    """The heat map of one image's joints, [K, side, side]; as wide around each as around the thing's centre."""
    which = torch.arange(seen.shape[1], device=seen.device).expand_as(seen)
    wide = radii[:, None].expand_as(seen)
    return _heat(pixel.flatten(0, 1), wide.flatten(), seen.flatten(), which.flatten(), seen.shape[1], side)


def thing_losses(maps: Maps, targets: Targets) -> Losses:
    """The losses of the heat maps (equation 1), the sizes (equation 3) and the offsets (equation 2)."""
    size, offset = at(maps.size, targets.place), at(maps.offset, targets.place)
    there = targets.there[..., None]
    return (
        focal_loss(maps.heat, targets.heat),
        ((size - targets.size).abs() * there).sum(),
        ((offset - targets.offset).abs() * there).sum(),
    )


def joint_losses(maps: Maps, targets: Targets) -> Losses:
    """The losses of the joints from their centres, the joints' heat maps and the joints' offsets (section 4.2)."""
    assert maps.joints is not None
    assert maps.joint_heat is not None
    assert maps.joint_offset is not None
    seen = targets.seen[..., None]
    regressed = at(maps.joints, targets.place).unflatten(-1, targets.joints.shape[2:])
    offset = at(maps.joint_offset, targets.joint_place.flatten(1)).unflatten(1, targets.seen.shape[1:])
    return (
        ((regressed - targets.joints).abs() * seen).sum(),
        focal_loss(maps.joint_heat, targets.joint_heat),
        ((offset - targets.joint_offset).abs() * seen).sum(),
    )
