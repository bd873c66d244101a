"""Pixels come back from values as they went, wherever they lie; nothing that isn't a number passes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recast.pipeline.bulk.values import NotFiniteError, to_pixels, to_values

CPU = torch.device("cpu")
RANGES = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)]


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    channels=st.sampled_from([1, 3]),
    value_range=st.sampled_from(RANGES),
    depth=st.sampled_from([np.uint8, np.uint16]),
    seed=st.integers(0, 99),
)
def test_there_and_back_is_the_same(height, width, channels, value_range, depth, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(depth).max + 1, (height, width, channels), depth)
    values = to_values(pixels, *value_range, CPU)
    assert values.shape == (channels, height, width)
    assert values.min() >= value_range[0] - 1e-6
    assert values.max() <= value_range[1] * (1 + 1e-6)
    back = to_pixels(values, *value_range, np.dtype(depth))
    assert back.dtype == depth
    assert np.array_equal(back, pixels)


@given(st.integers(1, 300), st.integers(0, 200), st.sampled_from(RANGES))
def test_a_value_is_rounded_alike_wherever_it_lies(count, before, value_range):
    """Tiles must give the bits of the whole, so the place in memory may not matter, not even near a tie."""
    low, high = value_range
    ties = (torch.arange(count) % 255 + 0.5) / 255 * (high - low) + low
    alone = to_pixels(ties.view(1, 1, -1), low, high, np.dtype(np.uint8))
    led = to_pixels(torch.cat([torch.zeros(before), ties]).view(1, 1, -1), low, high, np.dtype(np.uint8))
    assert np.array_equal(led[:, before:], alone)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 70, 300])
def test_one_value_that_is_not_finite_is_found(bad, place):
    values = torch.zeros(3, 10, 11)
    values.view(-1)[place] = bad
    with pytest.raises(NotFiniteError):
        to_pixels(values, 0, 1, np.dtype(np.uint8))


def test_what_lies_outside_the_range_is_clipped():
    values = torch.tensor([-5.0, -0.001, 0.0, 1.0, 1.001, 7.0]).view(1, 1, 6)
    assert to_pixels(values, 0, 1, np.dtype(np.uint8)).ravel().tolist() == [0, 0, 0, 255, 255, 255]
