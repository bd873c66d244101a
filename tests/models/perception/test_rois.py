"""RoIAlign and RoIPool are what their kernels' rules say, stated sample by sample; levels are the paper's."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from recast.models.perception.rois import levels, roi_align, roi_pool


def interpolated(plane, y, x):
    """A map's value at a place, by the rules of the public kernels, in plain numbers."""
    height, width = len(plane), len(plane[0])
    assume(all(abs(off) > 1e-4 for off in (y + 1, y - height, x + 1, x - width)))  # where rounding decides
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    above = plane[top][left] * (1 - across) + plane[top][right] * across
    below = plane[bottom][left] * (1 - across) + plane[bottom][right] * across
    return above * (1 - down) + below * down


def plainly(plane, roi, bins, scale, samples, aligned):
    """One region's bins, in plain numbers."""
    left, top, right, bottom = (side * scale for side in roi)
    tall, broad = bottom - top, right - left
    if aligned:
        left, top = left - 0.5, top - 0.5
    else:
        tall, broad = max(tall, 1.0), max(broad, 1.0)
    tall, broad = tall / bins[0], broad / bins[1]
    down, across = (max(math.ceil(side), 0) if samples is None else samples for side in (tall, broad))
    made = []
    for i in range(bins[0]):
        for j in range(bins[1]):
            values = [
                interpolated(plane, top + (i + (k + 0.5) / down) * tall, left + (j + (m + 0.5) / across) * broad)
                for k in range(down)
                for m in range(across)
            ]
            made.append(sum(values) / max(len(values), 1))
    return made


# In float32 as they are in Python's numbers, as are their differences: what is rounded up is the same.
SIDES = st.integers(-600, 1500).map(lambda n: n / 64)
ROIS = st.lists(st.tuples(SIDES, SIDES, SIDES, SIDES), min_size=0, max_size=4)


@settings(max_examples=40, deadline=None)
@given(
    rois=ROIS,
    bins=st.tuples(st.integers(1, 4), st.integers(1, 3)),
    samples=st.sampled_from([None, 1, 2, 3]),
    aligned=st.booleans(),
    scale=st.sampled_from([0.5, 1.0]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 9)),
)
def test_roi_align_is_its_rules_sample_by_sample(rois, bins, samples, aligned, scale, size):
    features = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    images = torch.arange(len(rois)) % 2
    made = roi_align(
        features, torch.tensor(rois).view(-1, 4), images, bins, scale=scale, samples=samples, aligned=aligned
    )
    assert made.shape == (len(rois), 3, *bins)
    for n, roi in enumerate(rois):
        for channel in range(3):
            expected = plainly(features[n % 2, channel].tolist(), roi, bins, scale, samples, aligned)
            assert made[n, channel].flatten().tolist() == pytest.approx(expected, abs=2e-4)


@settings(max_examples=25, deadline=None)
@given(rois=ROIS, bins=st.tuples(st.integers(1, 4), st.integers(1, 3)), scale=st.sampled_from([0.5, 1.0]))
def test_roi_pool_is_its_rules_bin_by_bin(rois, bins, scale):
    """Sides round half up, bins are cut outwards to whole pixels, and one without any is 0."""
    height, width = 6, 8
    features = torch.randn(2, 2, height, width, generator=torch.Generator().manual_seed(0))
    made = roi_pool(features, torch.tensor(rois).view(-1, 4), torch.arange(len(rois)) % 2, bins, scale=scale)
    assert made.shape == (len(rois), 2, *bins)
    for n, roi in enumerate(rois):
        left, top, right, bottom = (math.floor(side * scale + 0.5) for side in roi)
        high, wide = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for i in range(bins[0]):
            for j in range(bins[1]):
                inside = [
                    features[n % 2, :, y, x]
                    for y in range(top + i * high // bins[0], top + math.ceil((i + 1) * high / bins[0]))
                    for x in range(left + j * wide // bins[1], left + math.ceil((j + 1) * wide / bins[1]))
                    if 0 <= y < height and 0 <= x < width
                ]
                expected = torch.stack(inside).amax(0) if inside else torch.zeros(2)
                assert torch.equal(made[n, :, i, j], expected)


def test_a_sample_a_pixel_outside_counts_and_one_farther_out_does_not():
    features = torch.full((1, 1, 4, 4), 3.0)
    left = torch.tensor([-1.0, -1.25, 4.0, 4.25])
    rois = torch.stack([left - 0.5, torch.full((4,), 1.0), left + 0.5, torch.full((4,), 2.0)], 1)
    made = roi_align(features, rois, torch.zeros(4).long(), (1, 1), scale=1.0, samples=1, aligned=False)
    assert made.flatten().tolist() == [3, 0, 3, 0]


def test_its_gradients_are_the_weights_that_the_means_were_made_with():
    """They agree with differences; where all samples are inside, each bin hands its whole gradient on."""
    features = torch.rand(1, 2, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    rois, images = (
        torch.tensor([[1.0, 1.5, 5.2, 4.4], [2.0, 2.0, 3.0, 3.0]], dtype=torch.float64),
        torch.zeros(2).long(),
    )
    assert torch.autograd.gradcheck(lambda x: roi_align(x, rois, images, (2, 3), scale=1.0), features)
    (gradient,) = torch.autograd.grad(roi_align(features, rois, images, (2, 3), scale=1.0).sum(), features)
    assert gradient.sum().item() == pytest.approx(2 * 2 * 2 * 3)


def test_features_and_gradients_are_the_same_bits_each_time_and_alone():
    """Neither neighbours nor the number of threads decide any of them."""
    draws = torch.Generator().manual_seed(0)
    features = torch.randn(2, 16, 20, 24, generator=draws, requires_grad=True)
    corner = torch.rand(60, 2, generator=draws) * 20
    rois, images = torch.cat([corner, corner + 1 + torch.rand(60, 2, generator=draws) * 9], 1), torch.arange(60) % 2
    before, found = torch.get_num_threads(), []
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        made = roi_align(features, rois, images, (7, 7), scale=0.5)
        found.append((made, *torch.autograd.grad(made.square().sum(), features)))
    torch.set_num_threads(before)
    for made, gradient in found[1:]:
        assert torch.equal(made, found[0][0])
        assert torch.equal(gradient, found[0][1])
    alone = roi_align(features, rois[7:8], images[7:8], (7, 7), scale=0.5)
    assert torch.equal(alone[0], found[0][0][7])


def test_levels_are_the_pyramids_equation():
    sides = [0.0, 10, 111.9, 112, 223.9, 224, 447, 448, 5000]
    boxes = torch.tensor([[5.0, 5.0, 5 + side, 5 + side] for side in sides])
    assert levels(boxes, 2, 5).tolist() == [2, 2, 2, 3, 3, 4, 4, 5, 5]
    assert levels(torch.tensor([[0.0, 0, 448, 112]]), 2, 5).tolist() == [4]
