"""Generators see tensors of their liking; results don't depend on batches, padding or tiles."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from models.descriptor import Descriptor
from pipeline.bulk import generate
from pipeline.bulk.generate import Generator, tiles
from pipeline.images.faults import Fault
from pipeline.images.pictures import Picture


class Smooth(nn.Module):
    """Two 3x3 convolutions and a x2 sub-pixel step: a receptive field of radius 2."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(nn.functional.pixel_shuffle(self.last(torch.relu(self.first(x))), 2))


class Strict(nn.Module):
    """Gives its input back, and refuses sizes that aren't multiples of 8 or values outside [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[-1] % 8 == 0
        assert x.shape[-2] % 8 == 0
        assert x.min() >= -1
        assert x.max() <= 1
        return x


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float("nan")


UPSCALE = Descriptor(task="upscale", scale=2, halo_px=2)
STRICT = Descriptor(task="translate", size_multiple=8, min_size_px=16, value_range=(-1, 1))


def generator(network, descriptor, batch_size=1):
    return Generator(network, descriptor, device="cpu", precision="fp32", batch_size=batch_size)


def picture(height, width, channels=3, seed=0, **rest):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return Picture(pixels=pixels, **rest)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 16), (17, 40)])
def test_padding_to_the_networks_sizes_leaves_no_trace(size):
    given = picture(*size)
    (result,) = generator(Strict(), STRICT)([given])
    assert np.array_equal(result.pixels, given.pixels)


def test_results_do_not_depend_on_the_company_in_a_batch():
    pictures = [picture(20, 24, seed=s) for s in range(5)]
    together = generator(Smooth(), UPSCALE, batch_size=4)(pictures)
    alone = [generator(Smooth(), UPSCALE, batch_size=4)([p])[0] for p in pictures]
    for a, b in zip(together, alone, strict=True):
        assert np.array_equal(a.pixels, b.pixels)


def test_tiles_give_the_pixels_of_the_whole(monkeypatch):
    given = picture(75, 131)
    (whole,) = generator(Smooth(), UPSCALE)([given])
    monkeypatch.setattr(generate, "TILE_PX", 32)
    (tiled,) = generator(Smooth(), UPSCALE)([given])
    assert np.array_equal(tiled.pixels, whole.pixels)


def test_too_small_a_halo_would_show(monkeypatch):
    """The test above can fail: with half the halo the seams differ."""
    given = picture(75, 131)
    (whole,) = generator(Smooth(), UPSCALE)([given])
    monkeypatch.setattr(generate, "TILE_PX", 32)
    (tiled,) = generator(Smooth(), Descriptor(task="upscale", scale=2, halo_px=1))([given])
    assert not np.array_equal(tiled.pixels, whole.pixels)


@pytest.mark.parametrize(("length", "halo", "multiple"), [(100, 3, 1), (768, 40, 4), (2000, 40, 4), (5000, 349, 1)])
def test_tiles_keep_every_pixel_once_with_its_halo(length, halo, multiple):
    kept = []
    for tile in tiles(length, halo, multiple):
        kept += range(tile.keep_start, tile.keep_stop)
        assert tile.start == 0 or tile.keep_start - tile.start >= halo
        assert tile.stop == length or tile.stop - tile.keep_stop >= halo
        assert tile.start % multiple == 0
    assert kept == list(range(length))


def test_values_that_are_not_finite_are_a_fault_not_a_black_image():
    (result,) = generator(Broken(), STRICT)([picture(8, 8)])
    assert isinstance(result, Fault)
    assert result.kind == "generator"


def test_grey_stays_grey_when_upscaled_and_alpha_grows_along():
    grey = picture(10, 12, channels=1, alpha=np.full((10, 12), 77, np.uint8))
    (result,) = generator(Smooth(), UPSCALE)([grey])
    assert result.pixels.shape == (20, 24, 1)
    assert result.alpha.shape == (20, 24)
    assert set(np.unique(result.alpha)) == {77}
