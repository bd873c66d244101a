"""RoIAlign and NMS against the plainest statement of each: `python -m tests.benchmarks.perception_blocks`.

RoIAlign against one `grid_sample` an image and a mean over the samples of each bin, forward and backward; NMS against
the sequential loop. Both sides take turns, so that a disturbance hits both.
"""

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from recast.models.perception.boxes import iou, nms
from recast.models.perception.rois import roi_align

ROUNDS = 9
CASES = ((64, 32, 128, 7), (64, 32, 64, 14), (256, 200, 512, 7))
"""Channels and side of the map, regions, and bins along a side of each."""
SAMPLES = 2


def regions(count: int, side: int) -> Tensor:
    """Boxes in pixels of a map, [count, 4]."""
    random = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=random) * side * 0.7
    return torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=random) * side * 0.3], 1)


def plain_roi_align(features: Tensor, rois: Tensor, bins: int) -> Tensor:
    """All samples of all regions of one map by `grid_sample`, then the mean over those of each bin."""
    count, side = len(rois), features.shape[-1]
    steps = (torch.arange(bins * SAMPLES) + 0.5) / (bins * SAMPLES)
    x = rois[:, None, 0] - 0.5 + steps * (rois[:, 2] - rois[:, 0])[:, None]
    y = rois[:, None, 1] - 0.5 + steps * (rois[:, 3] - rois[:, 1])[:, None]
    n = bins * SAMPLES
    grid = torch.stack([x[:, None, :].expand(count, n, n), y[:, :, None].expand(count, n, n)], -1)
    grid = (2 * grid + 1) / side - 1
    sampled = F.grid_sample(features, grid.reshape(1, count * n, n, 2), padding_mode="border", align_corners=False)
    sampled = sampled.view(features.shape[1], count, n, n).transpose(0, 1)
    return F.avg_pool2d(sampled, SAMPLES)


def plain_nms(boxes: Tensor, scores: Tensor, limit: float) -> list[int]:
    """The rule as it is told: the best one stays, what overlaps it goes."""
    left, kept = scores.argsort(descending=True, stable=True), []
    while len(left):
        best = left[0]
        kept.append(int(best))
        left = left[1:][iou(boxes[best][None], boxes[left[1:]])[0] < limit]
    return kept


def timed(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Medians in milliseconds, in turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for times, work in zip(taken, (ours, theirs), strict=True):
            began = time.perf_counter()
            work()
            times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(taken[0]), statistics.median(taken[1])


def measure_roi_align(channels: int, side: int, count: int, bins: int) -> None:
    features = torch.rand(1, channels, side, side, requires_grad=True)
    rois, images = regions(count, side), torch.zeros(count, dtype=torch.long)

    def ours() -> Tensor:
        return roi_align(features, rois, images, (bins, bins), scale=1.0, samples=SAMPLES)

    def theirs() -> Tensor:
        return plain_roi_align(features, rois, bins)

    with torch.no_grad():
        off = float((ours() - theirs()).abs().max())
        forward = timed(ours, theirs)
    both = timed(lambda: ours().sum().backward(), lambda: theirs().sum().backward())
    print(
        f"RoIAlign, {channels} x {side} x {side}, {count} regions, {bins} x {bins}: {forward[0]:.1f} ms of "
        f"{forward[1]:.1f} ({forward[1] / forward[0]:.2f} times), with its backward {both[0]:.1f} of {both[1]:.1f} "
        f"({both[1] / both[0]:.2f} times); within {off:.1g}"
    )


def measure_nms(count: int) -> None:
    boxes, scores = regions(count, 400), torch.rand(count, generator=torch.Generator().manual_seed(1))
    assert nms(boxes, scores, 0.5).tolist() == plain_nms(boxes, scores, 0.5)
    own, loop = timed(lambda: nms(boxes, scores, 0.5), lambda: plain_nms(boxes, scores, 0.5))
    print(f"NMS of {count:,} boxes: {own:.1f} ms of {loop:.1f} ({loop / own:.1f} times)")


def main() -> None:
    for case in CASES:
        measure_roi_align(*case)
    for count in (200, 1000, 4000):
        measure_nms(count)


if __name__ == "__main__":
    main()
