"""Pixels as they are stored (8 or 16 bit integers) to and from the floating-point values that a network speaks."""

import cv2
import numpy as np
import torch
from torch import Tensor

COMPARED_AT_ONCE = 1 << 16
"""On a CPU values are converted so many at a time, which stay in a core's cache from step to step."""
LANES = 64
"""OpenCV rounds the last few values of an array by other instructions than the rest; no array has such a rest here."""

_ZEROS = np.zeros(COMPARED_AT_ONCE, np.float32)
_DEPTHS = {"uint8": cv2.CV_8U, "uint16": cv2.CV_16U}


class NotFiniteError(Exception):
    """A network gave NaN or infinity."""


def to_values(
    pixels: np.ndarray, low: float, high: float, device: torch.device, buffer: np.ndarray | None = None
) -> Tensor:
    """uint [H, W, C] -> float32 [C, H, W] in [low, high], its memory in the order of the pixels (channels last).

    Args:
        buffer: float32 [H, W, C] to use on a CPU: memory that was touched before is twice as fast.
    """
    factor = np.float32((high - low) / np.iinfo(pixels.dtype).max)
    if device.type != "cpu":
        return (torch.from_numpy(pixels).to(device, non_blocking=True).float() * float(factor) + low).permute(2, 0, 1)
    values = np.empty(pixels.shape, np.float32) if buffer is None else buffer
    for start in range(0, len(pixels), step := max(1, COMPARED_AT_ONCE // max(pixels[0].size, 1))):
        chunk = np.multiply(pixels[start : start + step], factor, out=values[start : start + step])
        if low:
            chunk += np.float32(low)
    return torch.from_numpy(values).permute(2, 0, 1)


def to_pixels(values: Tensor, low: float, high: float, depth: np.dtype) -> np.ndarray:
    """float32 [C, H, W] in [low, high] -> uint [H, W, C], rounded; what lies outside is clipped.

    Raises:
        NotFiniteError: a value is NaN or infinite.
    """
    factor = np.iinfo(depth).max / (high - low)
    values = values.permute(1, 2, 0)
    if values.device.type == "cpu":
        return _rounded(values.contiguous().numpy(), factor, -low * factor, depth)
    if not torch.isfinite(values.sum()):
        raise NotFiniteError
    # An accelerator has no unsigned 16-bit arithmetic, but every value of 16 bits fits an int32.
    rounded = ((values - low) * factor).round_().clamp_(0, np.iinfo(depth).max)
    return rounded.to(torch.uint8 if depth == np.uint8 else torch.int32).cpu().numpy().astype(depth, copy=False)


def _rounded(values: np.ndarray, factor: float, offset: float, depth: np.dtype) -> np.ndarray:
    given, pixels = values.reshape(-1), np.empty(values.size, depth)
    whole = given.size // LANES * LANES
    rest = np.zeros(LANES, np.float32)
    rest[: given.size - whole] = given[whole:]
    rounded_rest = np.empty(LANES, depth)
    total, depth_code = 0.0, _DEPTHS[np.dtype(depth).name]
    stops = [*range(COMPARED_AT_ONCE, whole, COMPARED_AT_ONCE), whole] if whole else []
    pieces = [(given[s:stop], pixels[s:stop]) for s, stop in zip(range(0, whole, COMPARED_AT_ONCE), stops, strict=True)]
    for values_piece, pixels_piece in [*pieces, (rest, rounded_rest)]:
        row = values_piece[None]
        cv2.addWeighted(row, factor, row, 0, offset, dst=pixels_piece[None], dtype=depth_code)
        with np.errstate(invalid="ignore"):  # a row says it, not a warning
            total += float(np.dot(values_piece, _ZEROS[: len(values_piece)]))  # NaN where a value is NaN or infinite
    if not np.isfinite(total):
        raise NotFiniteError
    pixels[whole:] = rounded_rest[: given.size - whole]
    return pixels.reshape(values.shape)
