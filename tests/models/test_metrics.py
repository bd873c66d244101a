"""Measures agree with other programs' and with their formulas stated anew."""

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import structural_similarity

from recast.models.metrics.fid import Moments, frechet_distance
from recast.models.metrics.kid import kernel_distance
from recast.models.metrics.lpips import LPIPS
from recast.models.metrics.ssim import ssim
from recast.models.networks.vgg import VGG


def noisy(image, amount, seed=0):
    return (image + np.random.default_rng(seed).normal(0, amount, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("amount", [0, 5, 40])
def test_ssim_is_scikit_images(amount):
    photo = data.astronaut()[100:220, 150:290]
    other = noisy(photo, amount)
    expected = structural_similarity(
        photo, other, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert ssim(photo, other) == pytest.approx(expected, abs=2e-3)


def test_ssim_refuses_what_it_can_not_compare():
    with pytest.raises(ValueError, match="shapes"):
        ssim(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 21, 3), np.uint8))
    with pytest.raises(ValueError, match="too small"):
        ssim(np.zeros((9, 20, 3), np.uint8), np.zeros((9, 20, 3), np.uint8))


def moments(rows):
    found = Moments(rows.shape[1])
    for part in np.array_split(rows, 3):
        found.add(part)
    return found


def test_frechet_distance_is_the_formulas():
    """By scipy's matrix root, and where it is known: two Gaussians that differ by a shift."""
    from scipy.linalg import sqrtm

    random = np.random.default_rng(0)
    one, other = random.normal(0, 1, (200, 6)), random.normal(0.5, 2, (150, 6)) @ random.normal(0, 1, (6, 6))
    c1, c2 = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    difference = one.mean(0) - other.mean(0)
    expected = difference @ difference + np.trace(c1 + c2 - 2 * sqrtm(c1 @ c2).real)
    assert frechet_distance(moments(one), moments(other)) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(moments(one), moments(one + 3)) == pytest.approx(6 * 9, rel=1e-6)
    joined = moments(one[:80])
    joined.join(moments(one[80:]))
    assert np.allclose(joined.covariance, c1)
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(moments(one[:1]), moments(other))


def test_lpips_is_the_papers():
    """Unit-normalised features, squared differences, weighed by channel, averaged over places, summed over layers."""
    torch.manual_seed(0)
    network = VGG(blocks=[[4, 4], [6], [8]]).eval().requires_grad_(False)
    x, y = torch.randint(0, 256, (2, 2, 3, 32, 32), dtype=torch.uint8)
    linear = {f"lin{n}.model.1.weight": torch.rand(1, width, 1, 1) for n, width in enumerate((4, 6, 8))}
    layers = ["relu1_2", "relu2_1", "relu3_1"]
    expected, plain = torch.zeros(2), torch.zeros(2)
    for n, name in enumerate(layers):
        one, other = (network.taps(images.float() / 255, {name})[name] for images in (x, y))
        one, other = (f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in (one, other))
        apart = (one - other) ** 2
        expected += (apart * linear[f"lin{n}.model.1.weight"]).sum(1).mean((1, 2))
        plain += apart.mean(1).mean((1, 2))
    assert LPIPS(network).layers == layers
    torch.testing.assert_close(LPIPS(network, linear)(x, y), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(LPIPS(network)(x, y), plain, rtol=1e-4, atol=1e-6)
    assert LPIPS(network)(x, x).abs().max() < 1e-6
    with pytest.raises(ValueError, match=r"no weights of LPIPS .*lin1\.model\.1\.weight"):
        LPIPS(network, {"lin0.model.1.weight": torch.rand(1, 4, 1, 1)})


def test_kernel_distance_is_the_sums_of_its_equation_and_has_no_bias():
    """Equation 4 of Binkowski et al. 2018, term by term; near 0 for sets of one distribution, far for others."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 4)), rng.normal(0.5, size=(7, 4))
    k = lambda a, b: (a @ b / 4 + 1) ** 3  # noqa: E731
    xx = sum(k(x[i], x[j]) for i in range(5) for j in range(5) if i != j) / 20
    yy = sum(k(y[i], y[j]) for i in range(7) for j in range(7) if i != j) / 42
    xy = sum(k(a, b) for a in x for b in y) / 35
    assert kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy, rel=1e-12)
    same = [kernel_distance(rng.normal(size=(20, 8)), rng.normal(size=(20, 8))) for _ in range(200)]
    assert abs(np.mean(same)) < 0.05 < kernel_distance(rng.normal(size=(20, 8)), rng.normal(2, size=(20, 8)))
    with pytest.raises(ValueError, match="at least two images"):
        kernel_distance(x[:1], y)
