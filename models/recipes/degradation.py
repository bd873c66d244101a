"""Photographs spoilt as the world spoils them, and sharper than it shows them: Real-ESRGAN's inputs and targets.

Wang et al. 2021 (arXiv:2107.10833), section 3.2 and the published training settings: blur, resize, noise and JPEG,
twice over, then a sinc filter, for ringing and overshoot. All randomness comes from one generator. Targets may be
sharpened by an unsharp mask (USM; section 4.1).
"""

from dataclasses import dataclass

import cv2
import numpy as np

KERNEL_SIZES = range(7, 22, 2)
FINAL_SINC_PROBABILITY = 0.8
RESIZERS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
USM_SIDE = 51
"""Side of the Gaussian that an unsharp mask takes off, in pixels; OpenCV's standard deviation for it is 8."""
USM_WEIGHT, USM_THRESHOLD = 0.5, 10 / 255


@dataclass(frozen=True, kw_only=True)
class Order:
    """The ranges that one of the two rounds draws from."""

    blur: float
    """Probability of any blur."""
    sinc: float
    """Probability that the blur is a sinc filter."""
    sigma: tuple[float, float]
    """Standard deviations of the blur along its axes, in pixels."""
    up_down_keep: tuple[float, float, float]
    """Probabilities of enlarging, reducing, and neither."""
    resize: tuple[float, float]
    """Least and greatest factor."""
    gaussian_sigma: tuple[float, float]
    """Range of the standard deviation of additive noise, in 255ths."""
    poisson_scale: tuple[float, float]
    """Range of what shot noise is multiplied by."""
    jpeg: tuple[float, float]
    """Quality."""


FIRST = Order(
    blur=1.0, sinc=0.1, sigma=(0.2, 3.0), up_down_keep=(0.2, 0.7, 0.1), resize=(0.15, 1.5), gaussian_sigma=(1, 30),
    poisson_scale=(0.05, 3.0), jpeg=(30, 95),
)  # fmt: skip
SECOND = Order(
    blur=0.8, sinc=0.1, sigma=(0.2, 1.5), up_down_keep=(0.3, 0.4, 0.3), resize=(0.3, 1.2), gaussian_sigma=(1, 25),
    poisson_scale=(0.05, 2.5), jpeg=(30, 95),
)  # fmt: skip

SHAPES = ("gaussian", "generalised", "plateau")
SHAPE_PROBABILITIES = (0.70, 0.15, 0.15)
ANISOTROPIC = {"gaussian": 0.25 / 0.70, "generalised": 0.03 / 0.15, "plateau": 0.03 / 0.15}
"""Probabilities of the published settings: isotropic and anisotropic Gaussian .45 and .25, generalised and plateau .12
and .03 each."""
BETA = {"gaussian": (1.0, 1.0), "generalised": (0.5, 4.0), "plateau": (1.0, 2.0)}
GAUSSIAN_NOISE_PROBABILITY = 0.5
GREY_NOISE_PROBABILITY = 0.4


def degraded(image: np.ndarray, scale: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [scale*h, scale*w, 3] -> uint8 [h, w, 3]."""
    height, width = image.shape[0] // scale, image.shape[1] // scale
    values = image.astype(np.float32) / 255
    values = _compressed(_round(values, FIRST, rng, image.shape[0], image.shape[1]), FIRST, rng)
    values = _round(values, SECOND, rng, height, width)
    sinc = _sinc(rng) if rng.random() < FINAL_SINC_PROBABILITY else None
    if rng.random() < 0.5:  # the order of the last resize and sinc, and of JPEG, is drawn
        values = _compressed(_filtered(_resized(values, height, width, rng), sinc), SECOND, rng)
    else:
        values = _filtered(_resized(_compressed(values, SECOND, rng), height, width, rng), sinc)
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def sharpened(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> the same with its edges raised: by half of what a blur takes from it, where that is much."""
    values = image.astype(np.float32) / 255
    detail = values - cv2.GaussianBlur(values, (USM_SIDE, USM_SIDE), 0)
    much = cv2.GaussianBlur((np.abs(detail) > USM_THRESHOLD).astype(np.float32), (USM_SIDE, USM_SIDE), 0)
    raised = (values + USM_WEIGHT * detail).clip(0, 1)
    return ((much * raised + (1 - much) * values) * 255).round().astype(np.uint8)


def _round(values: np.ndarray, order: Order, rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Blur, resize and noise. Factors are relative to height x width, the size without them."""
    if rng.random() < order.blur:
        values = _filtered(values, _sinc(rng) if rng.random() < order.sinc else _blur(rng, order.sigma))
    kind = rng.choice(3, p=order.up_down_keep)
    low, high = ((1.0, order.resize[1]), (order.resize[0], 1.0), (1.0, 1.0))[kind]
    factor = rng.uniform(low, high)
    values = _resized(values, max(1, round(height * factor)), max(1, round(width * factor)), rng)
    return _noisy(values, order, rng)


def _resized(values: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return cv2.resize(values, (width, height), interpolation=RESIZERS[int(rng.integers(3))])


def _filtered(values: np.ndarray, kernel: np.ndarray | None) -> np.ndarray:
    if kernel is None:
        return values
    return cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def _blur(rng: np.random.Generator, sigma: tuple[float, float]) -> np.ndarray:
    """A Gaussian, generalised Gaussian or plateau kernel (Liu et al. 2020), round or stretched and turned."""
    shape = SHAPES[int(rng.choice(3, p=SHAPE_PROBABILITIES))]
    one = rng.uniform(*sigma)
    other = rng.uniform(*sigma) if rng.random() < ANISOTROPIC[shape] else one
    angle, beta = rng.uniform(-np.pi, np.pi), rng.uniform(*BETA[shape])
    y, x = _grid(rng)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    distance = (along / one) ** 2 + (across / other) ** 2
    kernel = 1 / (1 + distance**beta) if shape == "plateau" else np.exp(-0.5 * distance**beta)
    return (kernel / kernel.sum()).astype(np.float32)


def _sinc(rng: np.random.Generator) -> np.ndarray:
    """A circular low-pass filter (section 3.3, equation 6): J1(w r) w / (2 pi r)."""
    y, x = _grid(rng)
    cutoff = rng.uniform(np.pi / 3, np.pi) if len(y) < 13 else rng.uniform(np.pi / 5, np.pi)
    radius = np.hypot(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):
        kernel = cutoff * _bessel_j1(cutoff * radius) / (2 * np.pi * radius)
    kernel[radius == 0] = cutoff**2 / (4 * np.pi)
    return (kernel / kernel.sum()).astype(np.float32)


def _grid(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    half = int(rng.choice(KERNEL_SIZES)) // 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    return y.astype(np.float64), x.astype(np.float64)


def _bessel_j1(x: np.ndarray) -> np.ndarray:
    """The Bessel function J1, by its integral (1/pi) int_0^pi cos(t - x sin t) dt over 64 points."""
    t = (np.arange(64) + 0.5) * (np.pi / 64)
    return np.cos(t - x[..., None] * np.sin(t)).mean(-1)


def _noisy(values: np.ndarray, order: Order, rng: np.random.Generator) -> np.ndarray:
    grey = rng.random() < GREY_NOISE_PROBABILITY
    shape = (*values.shape[:2], 1) if grey else values.shape
    if rng.random() < GAUSSIAN_NOISE_PROBABILITY:
        noise = rng.normal(0, rng.uniform(*order.gaussian_sigma) / 255, shape)
    else:
        scale = rng.uniform(*order.poisson_scale)
        clean = values.clip(0, 1).mean(-1, keepdims=True) if grey else values.clip(0, 1)
        noise = (rng.poisson(clean * 255) / 255 - clean) * scale
    return (values + noise).clip(0, 1).astype(np.float32)


def _compressed(values: np.ndarray, order: Order, rng: np.random.Generator) -> np.ndarray:
    pixels = (values.clip(0, 1) * 255).round().astype(np.uint8)
    quality = int(rng.uniform(*order.jpeg))
    _, data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert again is not None  # it was encoded just now
    return again[..., ::-1].astype(np.float32) / 255
