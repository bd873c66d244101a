"""Photographs are spoilt within the published ranges, and by nothing but the generator's draws."""

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from scipy.special import j1

from recast.models import recipes
from recast.models.pixels import to_range
from recast.models.recipes import degradation
from recast.models.recipes.degradation import FIRST, degraded, sharpened
from recast.models.recipes.recipe import RawExample
from tests.models.test_recipes import PlainRoad, built, photograph


@pytest.mark.parametrize("scale", [2, 4])
def test_low_resolution_is_smaller_spoilt_and_repeatable(scale):
    high = photograph(96, 128)
    one, same, other = (degraded(high, scale, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (one.shape, one.dtype) == ((96 // scale, 128 // scale, 3), np.uint8)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    clean = high.reshape(96 // scale, scale, 128 // scale, scale, 3).mean((1, 3))
    errors = [np.abs(degraded(high, scale, np.random.default_rng(seed)) - clean).mean() for seed in range(20)]
    assert 3 < np.mean(errors) < 40  # spoilt, and still a picture of the same thing


def test_kernels_keep_brightness():
    """Every kernel sums to 1; a blur is nowhere negative, a sinc filter is."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        blur, sinc = degradation._blur(rng, FIRST.sigma), degradation._sinc(rng)
        assert blur.sum() == pytest.approx(1, abs=1e-5)
        assert sinc.sum() == pytest.approx(1, abs=1e-5)
        assert blur.min() >= 0
        assert blur.shape[0] == blur.shape[1]
        assert blur.shape[0] in degradation.KERNEL_SIZES


def test_sharpening_is_the_published_unsharp_mask():
    """x + m (min(max(x + (x - b) / 2, 0), 1) - x), b = x blurred, m = [|x - b| > 10/255] blurred; by SciPy."""
    image = photograph(96, 128)
    x, offsets = image / 255, np.arange(-25, 26)
    kernel = np.exp(-(offsets**2) / (2 * 8.0**2))
    kernel /= kernel.sum()

    def blurred(values):
        return correlate1d(correlate1d(values, kernel, axis=0, mode="mirror"), kernel, axis=1, mode="mirror")

    b = blurred(x)
    m = blurred((np.abs(x - b) > 10 / 255).astype(float))
    expected = x + m * ((x + (x - b) / 2).clip(0, 1) - x)
    assert np.abs(sharpened(image) - expected * 255).max() <= 0.51
    assert np.abs(sharpened(image).astype(int) - image).max() > 10
    assert np.array_equal(sharpened(image // 64 + 100), image // 64 + 100)  # nothing there worth sharpening


def test_a_discriminator_sees_targets_unsharpened():
    recipe = built("srgan", sharpen=True)
    rngs = [np.random.default_rng(0) for _ in range(2)]
    sharp = recipe.example(RawExample((photograph(),)), rngs[0])
    plain = built("srgan").example(RawExample((photograph(),)), rngs[1])
    assert sharp.keys() == {"low", "high", "unsharpened"}
    assert torch.equal(sharp["unsharpened"], plain["high"])
    assert not torch.equal(sharp["high"], plain["high"])
    shown = []
    recipe.networks["D"].register_forward_pre_hook(lambda _, given: shown.append(given[0].detach().clone()))
    PlainRoad(recipe).step({name: image[None].repeat(2, 1, 1, 1) for name, image in sharp.items()})
    assert torch.equal(shown[0][0], to_range(sharp["unsharpened"], 0, 1))


def test_the_bessel_function_is_scipys():
    x = np.linspace(0, 60, 500)
    assert np.allclose(degradation._bessel_j1(x), j1(x), atol=1e-6)


def test_real_esrgans_presets_learn_from_spoilt_photographs():
    for name, preset in (("srresnet", "real-esrnet"), ("srgan", "real-esrgan")):
        assert recipes.configured(name, preset).degradation == "real-esrgan"
        assert recipes.configured(name, preset).sharpen
    recipe = built("srresnet", degradation="real-esrgan")
    example = recipe.example(RawExample((photograph(),)), np.random.default_rng(0))
    side = recipe.config.patch_px
    assert (example["low"].shape, example["high"].shape) == ((3, side, side), (3, 2 * side, 2 * side))
