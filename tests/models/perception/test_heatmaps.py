"""Heat maps have the papers' numbers: Gaussians, radii by both formulas, the focal loss, peaks and quarter pixels."""

import math

import pytest
import torch

from recast.models.perception import heatmaps as h


def test_gaussians_are_one_in_their_pixel_and_nothing_beyond_their_radius():
    """Stacked Hourglass's targets: sigma 1, radius 3; a point that is not known has an empty map."""
    centres = torch.tensor([[5.0, 4.9], [0.3, 0.2], [math.nan, 3.0], [-2.0, 4.0], [40.0, 4.0]])
    maps = h.gaussians(centres, torch.ones(5), torch.full((5,), 3.0), 9, 12)
    for y in range(9):
        for x in range(12):
            near = abs(x - 5) <= 3 and abs(y - 4) <= 3
            value = math.exp(-((x - 5) ** 2 + (y - 4) ** 2) / 2) if near else 0
            assert maps[0, y, x].item() == pytest.approx(value, rel=1e-5)
    assert maps[0, 4, 5] == maps[1, 0, 0] == 1
    assert maps[3, 4, :3].tolist() == pytest.approx([math.exp(-2), math.exp(-4.5), 0])
    assert not maps[2].any()
    assert not maps[4].any()


def test_things_of_a_class_share_a_map_by_the_larger_value():
    maps = h.gaussians(torch.tensor([[2.0, 2], [4, 2], [3, 2]]), torch.ones(3), torch.full((3,), 3.0), 5, 7)
    made = h.class_maps(maps, torch.tensor([2, 2, 0]), 3)
    assert torch.equal(made[2], torch.maximum(maps[0], maps[1]))
    assert torch.equal(made[0], maps[2])
    assert not made[1].any()
    assert not h.class_maps(maps[:0], torch.zeros(0, dtype=torch.long), 3).any()


def kept(height, width, first, second):
    """Intersection over union of a box and one whose upper left and lower right corners are off by so much."""
    top, bottom = first, height + second
    left, right = first, width + second
    shared = (min(bottom, height) - max(top, 0)) * (min(right, width) - max(left, 0))
    return shared / (height * width + (bottom - top) * (right - left) - shared)


@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("size", [(40, 40), (10, 90), (7, 3), (200, 150)])
def test_corners_off_by_the_radius_keep_the_overlap_and_no_larger_radius_does(size, overlap):
    radius = h.iou_radius(torch.tensor([size], dtype=torch.float64), overlap).item()
    least = min(kept(*size, *off) for off in ((radius, radius), (radius, -radius), (-radius, radius)))
    assert least == pytest.approx(overlap)


def test_radii_of_both_formulas_are_known_numbers():
    sizes = torch.tensor([[40.0, 40.0], [0.0, 5.0]])
    assert h.iou_radius(sizes, 0.7).tolist() == pytest.approx([3.267, 0], abs=1e-3)
    assert h.iou_radius(sizes, 0.3).tolist() == pytest.approx([9.046, 0], abs=1e-3)
    assert h.iou_radius(sizes, 0.7, "centernet").tolist() == pytest.approx([10.933, 0], abs=1e-3)
    assert h.sigma_of(torch.tensor([0.0, 1, 10])).tolist() == pytest.approx([1 / 6, 0.5, 3.5])


def test_the_focal_loss_is_equation_one():
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 5, generator=draws) * 4
    targets = torch.rand(2, 3, 4, 5, generator=draws)
    targets[0, 1, 2, 3] = targets[1, 0, 0, 0] = 1
    expected = 0.0
    for logit, y in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        expected -= (1 - p) ** 2 * math.log(p) if y == 1 else (1 - y) ** 4 * p**2 * math.log(1 - p)
    assert h.focal_loss(logits, targets).item() == pytest.approx(expected, rel=1e-5)


def test_the_focal_loss_lives_through_certainty_and_empty_maps():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    for targets in (torch.tensor([[0.0, 1.0]]), torch.zeros(1, 2)):
        loss = h.focal_loss(logits, targets)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


def test_peaks_are_the_highest_of_their_neighbours_in_one_order():
    maps = torch.zeros(2, 2, 5, 6)
    maps[0, 0, 1, 1], maps[0, 0, 1, 2] = 0.8, 0.9  # the one is the other's neighbour
    maps[0, 1, 4, 5], maps[0, 0, 4, 0], maps[0, 1, 0, 0] = 0.5, 0.5, 1.0
    maps[1, 1, 2, 2] = maps[1, 1, 2, 3] = 0.25  # as high as each other
    scores, classes, y, x = h.peaks(maps, 4)
    assert scores[0].tolist() == pytest.approx([1, 0.9, 0.5, 0.5])
    assert [*zip(classes[0].tolist(), y[0].tolist(), x[0].tolist(), strict=True)] == [
        (1, 0, 0), (0, 1, 2), (0, 4, 0), (1, 4, 5),
    ]  # fmt: skip
    assert scores[1].tolist() == [0.25, 0.25, 0, 0]
    assert [*zip(classes[1].tolist(), y[1].tolist(), x[1].tolist(), strict=True)][:2] == [(1, 2, 2), (1, 2, 3)]
    assert [*zip(classes[1].tolist(), y[1].tolist(), x[1].tolist(), strict=True)][2:] == [(0, 0, 0), (0, 0, 1)]


def test_peaks_of_random_maps_are_a_stable_sorting():
    maps = (torch.rand(1, 3, 9, 8, generator=torch.Generator().manual_seed(0)) * 20).round() / 20
    alone = []
    for c in range(3):
        for y in range(9):
            for x in range(8):
                around = maps[0, c, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                if maps[0, c, y, x] == around.max():
                    alone.append((-maps[0, c, y, x].item(), c, y, x))
    found = [row.tolist() for row in torch.stack([part[0].double() for part in h.peaks(maps, 20)], 1)]
    assert found == [[-score, c, y, x] for score, c, y, x in sorted(alone)[:20]]


def test_points_are_read_to_a_quarter_of_a_pixel():
    maps = torch.zeros(1, 4, 5, 6)
    maps[0, 0, 2, 3], maps[0, 0, 2, 4], maps[0, 0, 1, 3] = 1.0, 0.5, 0.2
    maps[0, 1, 2, 3], maps[0, 1, 2, 2], maps[0, 1, 3, 3] = 0.9, 0.5, 0.2
    maps[0, 2, 0, 5], maps[0, 2, 0, 4] = 0.8, 0.7  # in a corner
    points, scores = h.decoded(maps)
    assert points[0, :3].tolist() == [[3.75, 2.25], [3.25, 2.75], [5.5, 0.5]]
    assert scores[0].tolist() == pytest.approx([1, 0.9, 0.8, 0])
    assert points[0, 3].tolist() == [0.5, 0.5]  # an empty map: its score says so


def test_reading_gaussians_gives_their_points_back():
    centres = torch.tensor([[3.0, 4.0], [9.0, 2.0]])
    maps = h.gaussians(centres, torch.ones(2), torch.full((2,), 3.0), 8, 12)
    assert torch.equal(h.decoded(maps[None])[0][0], centres + 0.5)
