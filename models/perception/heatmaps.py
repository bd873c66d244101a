"""Heat maps with a Gaussian where something is: targets, what their losses are, and how points are read from them.

A map's pixel (x, y) has its middle at x + 0.5, y + 0.5. Maps are [..., H, W]; targets and scores lie in [0, 1].
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

DIAMETER_SIGMAS = 6
"""Sigmas across a box's Gaussian (CornerNet's and CenterNet's code; section 3.2 of the paper says a third of the
radius, which leaves out the middle pixel)."""
POSITIVE_POWER, NEGATIVE_POWER = 2, 4
"""CornerNet's alpha and beta."""
QUARTER = 0.25
INDEX_BITS = 32
"""The lower half of a sorting key."""

Formula = Literal["cornernet", "centernet"]


def gaussians(centres: Tensor, sigmas: Tensor, radii: Tensor, height: int, width: int) -> Tensor:
    """Maps [K, H, W] with an unnormalised Gaussian each, 1 in its middle pixel, and 0 beyond its radius.

    By a fixed sigma (Newell et al. 2016, arXiv:1603.06937: 1 pixel of a 64 pixel map, radius 3 sigma), or by the size
    of a box (`iou_radius`, `sigma_of`).

    Args:
        centres: x and y in pixels of the map, [K, 2]: the Gaussian is that of the pixel that they lie in, which may be
            outside of the map. Where they are NaN, the map is 0.
        sigmas: in pixels, [K].
        radii: in pixels, [K]: how far from the middle pixel it reaches along each axis.
        height, width: of the maps.
    """
    columns, rows = (
        _profile(centre, sigmas, radii, length)
        for centre, length in zip(centres.unbind(1), (width, height), strict=True)
    )
    return rows[:, :, None] * columns[:, None, :]


def _profile(centres: Tensor, sigmas: Tensor, radii: Tensor, length: int) -> Tensor:
    """The Gaussians along one axis, [K, length]."""
    away = torch.arange(length, device=centres.device) - centres.floor()[:, None]
    height = (-away.square() / (2 * sigmas[:, None].square())).exp()
    return torch.where(away.abs() <= radii[:, None], height, torch.zeros_like(height))


def class_maps(gaussians: Tensor, classes: Tensor, count: int) -> Tensor:
    """Maps of things [K, H, W] -> of classes [count, H, W], the larger value where things of a class overlap.

    `classes` are int64 [K] in [0, count).
    """
    made = gaussians.new_zeros(count, *gaussians.shape[1:])
    return made.scatter_reduce(0, classes[:, None, None].expand_as(gaussians), gaussians, "amax")


def iou_radius(sizes: Tensor, overlap: float, formula: Formula = "cornernet") -> Tensor:
    """How far both corners of a box may be off so that it overlaps itself enough, in pixels, float [K].

    Law and Deng 2018 (CornerNet, arXiv:1808.01244), section 3.2. A pair of corners that are off by as much along both
    axes, both to one side, inwards or outwards, keeps that intersection over union.

    Args:
        sizes: height and width of the boxes in pixels, [K, 2].
        overlap: the least intersection over union, in (0, 1).
        formula: `cornernet`: the quadratics' roots, as CornerNet's code has them today. `centernet`: what CenterNet's
            code has kept from before that was put right, not divided by the first coefficient: much larger radii, for
            what its public networks were trained with.
    """
    height, width = sizes.unbind(1)
    around, area = height + width, height * width
    roots = (
        _root(1, -around, area * (1 - overlap) / (1 + overlap), formula, smaller=True),
        _root(4, -2 * around, area * (1 - overlap), formula, smaller=True),
        _root(4 * overlap, 2 * overlap * around, area * (overlap - 1), formula, smaller=False),
    )
    return torch.stack(roots).amin(0)


def _root(a: float, b: Tensor, c: Tensor, formula: Formula, *, smaller: bool) -> Tensor:
    """A root of a x^2 + b x + c = 0, or what CenterNet's code has for it."""
    root = (b.square() - 4 * a * c).clamp_min(0).sqrt()
    if formula == "centernet":
        return (root - b) / 2
    return (-root - b if smaller else root - b) / (2 * a)


def sigma_of(radii: Tensor) -> Tensor:
    """The sigmas in pixels that boxes' Gaussians with radii of whole pixels have, the middle pixel counted."""
    return (2 * radii + 1) / DIAMETER_SIGMAS


def focal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The sum over all pixels, to be divided by how many are 1; float32, whatever the logits are.

    Law and Deng 2018, equation 1, from logits: near a thing, where targets are close to 1, a wrong answer costs little.

    Args:
        logits: maps [..., H, W].
        targets: of the same shape, in [0, 1].
    """
    logits, targets = logits.float(), targets.float()
    p = logits.sigmoid()
    there = (1 - p) ** POSITIVE_POWER * F.logsigmoid(logits)
    not_there = (1 - targets) ** NEGATIVE_POWER * p**POSITIVE_POWER * F.logsigmoid(-logits)
    return -torch.where(targets == 1, there, not_there).sum()


def peaks(maps: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The highest pixels that no neighbour exceeds: scores, classes, y and x, each [N, count], best first.

    Zhou et al. 2019 (CenterNet, arXiv:1904.07850), section 4. Neighbours as high as one another are peaks all. Of equal
    scores the first class, row and column comes first, so that a network's boxes are the same each time. Where there
    are fewer peaks, further pixels follow with a score of 0.

    Args:
        maps: scores in [0, 1], [N, C, H, W].
        count: how many, at most C * H * W.
    """
    maps = maps.float()
    scores = (
        torch.where(F.max_pool2d(maps, 3, 1, 1) == maps, maps, torch.zeros_like(maps)).clamp_min(0).abs().flatten(1)
    )
    places = torch.arange(scores.shape[1], device=maps.device)
    keys = (scores.view(torch.int32).long() << INDEX_BITS) - places  # the bits of floats of one sign are in their order
    best = -keys.topk(count).values % (1 << INDEX_BITS)
    height, width = maps.shape[2:]
    return scores.gather(1, best), best // (height * width), best // width % height, best % width


def decoded(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The point in each map [N, J, H, W]: x and y in pixels of the map, [N, J, 2], and its score, [N, J].

    Newell et al. 2016, section 3: the highest pixel's middle, a quarter of a pixel on towards the higher neighbour
    along each axis. Where neighbours are equal, or there is but one, it stays on that axis.
    """
    height, width = maps.shape[2:]
    scores, best = maps.flatten(2).max(2)
    y, x = best // width, best % width
    column = maps.gather(3, x[..., None, None].expand(*x.shape, height, 1))[..., 0]
    row = maps.gather(2, y[..., None, None].expand(*y.shape, 1, width))[..., 0, :]
    return torch.stack([_quartered(row, x), _quartered(column, y)], -1), scores


def _quartered(profile: Tensor, place: Tensor) -> Tensor:
    """Where the peak of a profile [..., L] at a place [...] lies, in pixels, [...]."""
    padded = F.pad(profile, (1, 1))
    before, behind = (padded.gather(-1, (place + step)[..., None])[..., 0] for step in (0, 2))
    inside = (place > 0) & (place < profile.shape[-1] - 1)
    return place + 0.5 + QUARTER * (behind - before).sign() * inside
