"""Generators see tensors of their liking; results don't depend on batches, padding or tiles."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given as given_that
from hypothesis import strategies as st
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.networks.unet import UNet
from recast.pipeline.bulk import tiles
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.bulk.operation import Result
from recast.pipeline.bulk.tiles import Tiling, lay
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources.inputs import Input


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


class Shifting(nn.Module):
    """Takes the image's mean away, as instance normalisation does: an output pixel depends on the whole image."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 + 0.9 * (x - x.mean(dim=(2, 3), keepdim=True))


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float("nan")


UPSCALE = Descriptor(task="upscale", scale=2, halo_px=2)
WHOLE = Descriptor(task="translate")
STRICT = Descriptor(task="translate", size_multiple=8, min_size_px=16, value_range=(-1, 1))


def pictures_of(operator):
    """The operator, giving pictures in place of results that have no more than that."""

    def made(pictures, items=()):
        return [result.picture if isinstance(result, Result) else result for result in operator(pictures, items)]

    return made


def generator(network, descriptor, batch_size=1):
    return pictures_of(Generator(network, descriptor, device="cpu", precision="fp32", batch_size=batch_size))


def item(key):
    return Input(key=key, source=key, fingerprint="", container=b"")


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


def test_noise_is_decided_by_the_key_alone():
    """With noise, dropout makes another image of each key, the same one whatever came before it."""
    torch.manual_seed(0)
    network = UNet(num_downs=6, ngf=4).eval()
    descriptor = Descriptor(task="translate", size_multiple=64, min_size_px=128, value_range=(-1, 1))
    same, items = [picture(128, 128)] * 3, [item("a"), item("b"), item("c")]
    noisy = pictures_of(Generator(network, descriptor, device="cpu", precision="fp32", batch_size=4, noise=True))
    first = [result.pixels for result in noisy(same, items)]
    again = [noisy([given], [one])[0].pixels for given, one in reversed(list(zip(same, items, strict=True)))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])
    calm = generator(network.eval(), descriptor)(same)
    assert np.array_equal(calm[0].pixels, calm[1].pixels)


def test_tiles_give_the_pixels_of_the_whole(monkeypatch):
    given = picture(75, 131)
    (whole,) = generator(Smooth(), UPSCALE)([given])
    monkeypatch.setattr(tiles, "CORE_PX", 32)
    monkeypatch.setattr(tiles, "SMALL_PIXELS", 0)
    (tiled,) = generator(Smooth(), UPSCALE)([given])
    assert np.array_equal(tiled.pixels, whole.pixels)


def test_too_small_a_halo_would_show(monkeypatch):
    """The test above can fail: with half the halo the seams differ."""
    given = picture(75, 131)
    (whole,) = generator(Smooth(), UPSCALE)([given])
    monkeypatch.setattr(tiles, "CORE_PX", 32)
    monkeypatch.setattr(tiles, "SMALL_PIXELS", 0)
    (tiled,) = generator(Smooth(), Descriptor(task="upscale", scale=2, halo_px=1))([given])
    assert not np.array_equal(tiled.pixels, whole.pixels)


@given_that(
    length=st.integers(1, 3000),
    core=st.integers(16, 400),
    margin=st.integers(0, 60),
    ramp=st.integers(0, 40),
    multiple=st.sampled_from([1, 4, 8, 32]),
)
def test_tiles_keep_every_pixel_with_its_halo_and_have_one_size(length, core, margin, ramp, multiple):
    margin = -(-margin // multiple) * multiple
    side = -(-(core + ramp + 2 * margin + multiple) // multiple) * multiple
    cut = list(Tiling(side, margin, ramp, multiple).axis(length))
    assert cut[0].keep_start == 0
    assert cut[-1].keep_stop == length
    assert all(b.keep_start == a.keep_stop - ramp for a, b in itertools.pairwise(cut))
    for tile in cut:
        assert tile.start == 0 or tile.keep_start - tile.start >= margin
        assert tile.stop == length or tile.stop - tile.keep_stop >= margin
        assert tile.start % multiple == 0
        assert len(cut) == 1 or -(-tile.stop // multiple) * multiple - tile.start == side


def test_laying_fades_from_what_was_there_to_the_piece():
    canvas = np.zeros((8, 1, 1), np.uint8)
    canvas[:4] = 100
    lay(canvas, np.full((6, 1, 1), 200, np.uint8), 2, 2)
    assert canvas[:, 0, 0].tolist() == [100, 100, 125, 175, 200, 200, 200, 200]


def test_a_generator_that_sees_the_whole_image_is_blended_without_seams_and_the_row_says_so(monkeypatch):
    """Instance normalisation shifts each tile a little; neighbouring pixels never jump by more than a blend does."""
    monkeypatch.setattr(tiles, "CORE_PX", 64)
    monkeypatch.setattr(tiles, "SMALL_PIXELS", 0)
    monkeypatch.setattr(tiles, "WHOLE_PIXELS", 100 * 100)
    ramp = np.linspace(40, 215, 700).astype(np.uint8)
    given = Picture(pixels=np.ascontiguousarray(np.broadcast_to(ramp[None, :, None], (300, 700, 3))))
    (result,) = generator(Shifting(), WHOLE)([given])
    assert result.notes[0].startswith("blended from ")
    steps = np.abs(np.diff(result.pixels.astype(int), axis=1))
    assert steps.max() <= 4
    (small,) = generator(Shifting(), WHOLE)([picture(100, 100)])
    assert small.notes == ()


def test_sixteen_bits_go_through_as_sixteen():
    pixels = np.random.default_rng(0).integers(0, 65536, (9, 13, 3), np.uint16)
    (result,) = generator(Strict(), STRICT)([Picture(pixels=pixels)])
    assert result.pixels.dtype == np.uint16
    assert np.abs(result.pixels.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("task", ["translate", "upscale"])
def test_every_value_of_eight_bits_comes_back(task):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    for value_range in ((0, 1), (-1, 1), (0, 255)):
        given = Picture(pixels=pixels)
        (result,) = generator(nn.Identity(), Descriptor(task=task, value_range=value_range))([given])
        assert np.array_equal(result.pixels, pixels)


def test_values_that_are_not_finite_are_a_fault_not_a_black_image():
    (result,) = generator(Broken(), STRICT)([picture(8, 8)])
    assert isinstance(result, InputError)
    assert result.kind == "generator"


def test_grey_stays_grey_when_upscaled_and_alpha_grows_along():
    grey = picture(10, 12, channels=1, alpha=np.full((10, 12), 77, np.uint8))
    (result,) = generator(Smooth(), UPSCALE)([grey])
    assert result.pixels.shape == (20, 24, 1)
    assert result.alpha.shape == (20, 24)
    assert set(np.unique(result.alpha)) == {77}


@pytest.mark.parametrize(("taken", "given"), [(4, 4), (4, 3), (3, 4), (2, 2)])
def test_networks_with_an_alpha_channel_take_and_give_one(taken, given):
    """Alpha is the last channel of two or four; an image without one is opaque, a network that gives none leaves it."""

    class Channels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert x.shape[1] == taken
            return torch.cat([x, x[:, :1]], 1)[:, :given] if given > taken else x[:, :given]

    descriptor = Descriptor(task="translate", in_channels=taken, out_channels=given)
    alpha = np.random.default_rng(1).integers(0, 256, (9, 13), np.uint8)
    (result,) = generator(Channels(), descriptor)([picture(9, 13, channels=3 if taken > 2 else 1, alpha=alpha)])
    before = picture(9, 13, channels=3 if taken > 2 else 1).pixels
    assert np.array_equal(result.pixels, before)
    expected = alpha if given in (2, 4) and taken in (2, 4) else before[..., 0] if given == 4 else alpha
    assert np.array_equal(result.alpha, expected)
    (opaque,) = generator(Channels(), descriptor)([picture(9, 13, channels=3 if taken > 2 else 1)])
    if taken == given:
        assert set(np.unique(opaque.alpha)) == {255}
