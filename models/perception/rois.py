"""Features of regions of interest: RoIAlign and RoIPool, and the pyramid's level that a region is read from."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from recast.models.perception.boxes import areas

CANONICAL_PX, CANONICAL_LEVEL = 224.0, 4
"""A region of that side is read from that level (Lin et al. 2017, section 4.2): 224 pixels as in ImageNet's images."""
ROUNDING = 1e-6
"""Added to a region's level, so that one of just 224 pixels does not fall below it."""
OUTSIDE = 1.0
"""Samples farther outside of the map than this many of its pixels are 0; nearer ones are those at its edge."""


def levels(boxes: Tensor, finest: int, coarsest: int) -> Tensor:
    """Levels of a feature pyramid that boxes [R, 4] in pixels are read from, int64 [R] in [finest, coarsest].

    Lin et al. 2017 (FPN, arXiv:1612.03144), equation 1. Level n has a pixel for each 2 ** n of the image.
    """
    sizes = areas(boxes).sqrt() / CANONICAL_PX
    return (CANONICAL_LEVEL + sizes.log2() + ROUNDING).floor().clamp(finest, coarsest).long()


def roi_align(
    features: Tensor,
    rois: Tensor,
    images: Tensor,
    bins: tuple[int, int],
    *,
    scale: float,
    samples: int | None = 2,
    aligned: bool = True,
) -> Tensor:
    """Features of regions on a grid of bins, [R, C, *bins]: means of samples, each interpolated between four pixels.

    He et al. 2017 (Mask R-CNN, arXiv:1703.06870), section 3, by the rules of torchvision's and detectron2's kernels.
    Bins are bags of weighted rows of the map as a table, which one `embedding_bag` sums: nothing of the size of all
    samples' features is held. Gradients go to the features, none to the regions.

    Args:
        features: maps [N, C, H, W].
        rois: boxes [R, 4] in pixels of the images; they may reach beyond the map.
        images: which map each is on, int64 [R].
        bins: rows and columns of the grid.
        scale: pixels of the map for each of the image, 1 / 16 for a stride of 16.
        samples: how many along each side of a bin; None: as many as the bin's side has pixels of the map, rounded up.
        aligned: whether the middle of a map's pixel lies half a pixel behind its corner, as it does; False: as in the
            public networks of before that was put right, where besides a region has sides of one pixel at least.
    """
    count, channels, height, width = features.shape
    grid = _Grid.of(rois.detach() * scale, bins, samples, aligned=aligned)
    roi, y, x = grid.points()
    rows, weights = _neighbours(y, x, height, width)
    places = (images[roi] * (height * width))[:, None] + rows
    table = features.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    per_bin = grid.per_bin.repeat_interleave(bins[0] * bins[1])
    summed = F.embedding_bag(
        places.flatten(),
        table,
        (4 * per_bin).cumsum(0) - 4 * per_bin,
        mode="sum",
        per_sample_weights=(weights / grid.per_bin[roi, None]).to(table.dtype).flatten(),
    )
    return summed.view(len(rois), *bins, channels).permute(0, 3, 1, 2)


def roi_pool(features: Tensor, rois: Tensor, images: Tensor, bins: tuple[int, int], *, scale: float) -> Tensor:
    """The largest features in the bins of regions, [R, C, *bins]; 0 in bins that lie beyond the map.

    Girshick 2015 (Fast R-CNN, arXiv:1504.08083), section 2.1, by the rules of torchvision's kernel: a region is rounded
    to whole pixels of the map, and its bins, which overlap by up to a pixel, are, too. Here as what RoIAlign is
    measured against. Gradients go to the features.

    Args:
        features, rois, images, bins, scale: as for `roi_align`.
    """
    count, channels, height, width = features.shape
    corners = (rois.detach() * scale + 0.5).floor().long()
    rows, down = _whole_pixels(corners[:, 1], corners[:, 3], bins[0], height)
    columns, across = _whole_pixels(corners[:, 0], corners[:, 2], bins[1], width)
    table = features.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    place = (images[:, None, None] * height + rows)[:, :, None, :, None] * width + columns[:, None, :, None, :]
    there = down[:, :, None, :, None] & across[:, None, :, None, :]
    values = table[place.flatten(3)].masked_fill(~there.flatten(3)[..., None], -torch.inf)
    most = values.amax(3) if values.shape[3] else values.new_zeros(len(rois), *bins, channels)
    return most.masked_fill(most == -torch.inf, 0).permute(0, 3, 1, 2)


def _whole_pixels(first: Tensor, last: Tensor, bins: int, length: int) -> tuple[Tensor, Tensor]:
    """The pixels of each bin of regions along an axis of so many, int64 [R, bins, K], and whether they count."""
    side = (last - first + 1).clamp_min(1)[:, None]
    number = torch.arange(bins, device=first.device)[None]
    low = (first[:, None] + number * side // bins).clamp(0, length)
    high = (first[:, None] + -(-(number + 1) * side // bins)).clamp(0, length)
    most = int((high - low).max()) if len(first) else 0
    pixels = low[..., None] + torch.arange(most, device=first.device)
    return pixels.clamp_max(length - 1), pixels < high[..., None]


@dataclass(frozen=True)
class _Grid:
    """Where the samples of regions lie, in pixels of the map."""

    start: Tensor
    """Top and left of each region, [R, 2]."""
    step: Tensor
    """Height and width of its bins, [R, 2]."""
    bins: tuple[int, int]
    counts: Tensor
    """Samples down and across in each of its bins, int64 [R, 2]."""

    @classmethod
    def of(cls, rois: Tensor, bins: tuple[int, int], samples: int | None, *, aligned: bool) -> "_Grid":
        """The grid of regions [R, 4] in pixels of the map."""
        start, size = rois[:, [1, 0]], rois[:, [3, 2]] - rois[:, [1, 0]]
        start, size = (start - 0.5, size) if aligned else (start, size.clamp_min(1.0))
        step = size / size.new_tensor(bins)
        counts = step.ceil().clamp_min(0).long() if samples is None else torch.full_like(step, samples).long()
        return cls(start, step, bins, counts)

    @property
    def per_bin(self) -> Tensor:
        """Samples in each bin of each region, int64 [R]."""
        return self.counts.prod(1)

    def points(self) -> tuple[Tensor, Tensor, Tensor]:
        """The region, y and x of all samples [S], by region, row and column of the bin, then of the sample in it."""
        each = self.per_bin * (self.bins[0] * self.bins[1])
        roi = torch.arange(len(each), device=each.device).repeat_interleave(each)
        place = torch.arange(len(roi), device=each.device) - (each.cumsum(0) - each)[roi]
        down, across = self.counts[roi].unbind(1)
        bin_number, sample = place // (down * across), place % (down * across)
        y = bin_number // self.bins[1] + (sample // across + 0.5) / down
        x = bin_number % self.bins[1] + (sample % across + 0.5) / across
        start, step = self.start[roi], self.step[roi]
        return roi, start[:, 0] + y * step[:, 0], start[:, 1] + x * step[:, 1]


def _neighbours(y: Tensor, x: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four pixels around samples y, x [S] in a map, row by row, int64 [S, 4], and their weights [S, 4]."""
    inside = (y >= -OUTSIDE) & (y <= height) & (x >= -OUTSIDE) & (x <= width)
    (above, below, down), (before, behind, across) = _between(y, height), _between(x, width)
    rows = torch.stack([above, above, below, below], 1) * width + torch.stack([before, behind, before, behind], 1)
    up, back = 1 - down, 1 - across
    weights = torch.stack([up * back, up * across, down * back, down * across], 1)
    return rows, weights * inside[:, None]


def _between(places: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels before and behind places [S] on an axis of that many, int64, and the share of the one behind."""
    places = places.clamp(0, length - 1)
    before = places.floor().long()
    return before, (before + 1).clamp_max(length - 1), places - before
