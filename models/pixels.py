"""Pixels as stored (uint8) and as networks take them (float)."""

from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in greyscale (ITU-R BT.601)."""

SIGNED = (-1.0, 1.0)
"""The range of a tanh, which ends many generators."""


def to_range(pixels: Tensor, low: float, high: float) -> Tensor:
    """uint8 -> float32 in [low, high]."""
    return pixels.float() * ((high - low) / 255) + low


def to_unit(values: Tensor, low: float, high: float) -> Tensor:
    """[low, high] -> float32 in [0, 1], what lies outside clipped."""
    return ((values.float() - low) / (high - low)).clamp(0, 1)
