"""Numbers of any kind and range to 8 or 16 bit pixels, and a note that says what was done to them."""

import numpy as np

from recast.pipeline.input_errors import InputError

OUTLIERS = 0.001
"""At each end of a range, the share of values that may lie far from all the others."""
FAR = 4.0
"""Values are outliers where with them the range is so many times as wide as without."""
UNIT_SLACK = 0.05
"""How far ringing from resampling may carry values beyond the range from 0 to 1 that they were meant for."""
PLAINLY_ABOVE_UNIT = 32.0
"""Floating-point values up to 255 are 8-bit values if they reach this."""
SAMPLED = 1 << 20
"""Values that decide what outliers are."""
COMPARED_AT_ONCE = 1 << 20


def stored(values: np.ndarray, nodata: float | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers [H, W, C] -> uint8 or uint16 [H, W, C], and notes. Unsigned 8 and 16 bits stay as they are.

    Args:
        nodata: the value that stands for "not measured"; it decides no range, and becomes black.

    Raises:
        InputError: `unsupported` where no value is a finite number.
    """
    if values.dtype in (np.uint8, np.uint16):
        return values, ()
    valid = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    lost = [] if valid.all() else [f"{valid.size - np.count_nonzero(valid):,} values that are not finite shown black"]
    if nodata is not None and (absent := _equal(values, nodata)).any():
        lost.append(f"{np.count_nonzero(absent):,} values without data ({nodata:g}) shown black")
        valid &= ~absent
    seen = values[valid] if lost else values.reshape(-1)
    if not seen.size:
        raise InputError("unsupported", "none of its values is a finite number that was measured")
    integers = values.dtype.kind in "iu"
    low, high, depth, how = _integers(seen) if integers else _floats(seen)
    clipped = int(np.count_nonzero(seen < low) + np.count_nonzero(seen > high))
    if clipped:
        how += f"; {clipped:,} values outside of it clipped"
    return _scaled(values, valid if lost else None, low, high, depth), (*([how] if how else []), *lost)


def _equal(values: np.ndarray, one: float) -> np.ndarray:
    if values.dtype.kind == "f":
        return values == values.dtype.type(one)
    return values == int(one) if np.isfinite(one) and one == int(one) else np.zeros(values.shape, bool)


def _integers(seen: np.ndarray) -> tuple[float, float, np.dtype, str]:
    """The range that becomes black to white, the depth it becomes, and what is to be said of it."""
    least, most, bits = int(seen.min()), int(seen.max()), 8 * seen.itemsize
    if bits == 8:
        return (
            (0, 255, np.dtype(np.uint8), "") if least >= 0 else (*_own(least, most, seen, "8 bits", "8-bit integers"),)
        )
    if least >= 0 and most <= 65535:
        if bits == 16:
            return 0, 65535, np.dtype(np.uint16), ""
        depth: np.dtype = np.dtype(np.uint8 if most <= 255 else np.uint16)
        what = f"{bits}-bit integers from {least:,} to {most:,}, taken as {8 * depth.itemsize} bits"
        return 0, 255 if most <= 255 else 65535, depth, what
    return _own(least, most, seen, "16 bits", f"{bits}-bit integers")


def _floats(seen: np.ndarray) -> tuple[float, float, np.dtype, str]:
    least, most = float(seen.min()), float(seen.max())
    eight = np.dtype(np.uint8)
    if least >= 0 and most <= 1:
        return 0, 1, eight, "reduced to 8 bits from floating point"
    told = f"reduced to 8 bits from floating point from {least:g} to {most:g}"
    low, high = _without_outliers(least, most, seen)
    typical = _quantiles(seen)
    ringing = typical[0] >= -UNIT_SLACK and typical[1] <= 1 + UNIT_SLACK and least >= -1 and most <= 2
    if (low >= 0 and high <= 1 and high > low) or (ringing and typical[1] > typical[0]):
        return 0, 1, eight, f"{told}, taken as 0 to 1"
    if low >= 0 and PLAINLY_ABOVE_UNIT <= high <= 255:
        return 0, 255, eight, f"{told}, taken as 0 to 255"
    if low >= 0 and high <= 255 and np.array_equal(seen, np.rint(seen)):
        return 0, 255, eight, f"{told}, taken as 0 to 255"
    return _own(least, most, seen, "16 bits", "floating point")


def _own(least: float, most: float, seen: np.ndarray, depth: str, what: str) -> tuple[float, float, np.dtype, str]:
    low, high = _without_outliers(least, most, seen)
    how = f"{what} from {_said(least)} to {_said(most)}, its range from {_said(low)} to {_said(high)} made {depth}"
    return low, high, np.dtype(np.uint8 if depth == "8 bits" else np.uint16), how


def _said(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _without_outliers(least: float, most: float, seen: np.ndarray) -> tuple[float, float]:
    low, high = _quantiles(seen)
    if high > low and float(most) - float(least) > FAR * (high - low):
        return low, high
    return least, most


def _quantiles(seen: np.ndarray) -> tuple[float, float]:
    """Between them lie all values but the share that may be outliers, and one at each end at least."""
    some = np.sort(seen[:: max(1, seen.size // SAMPLED)])
    last = len(some) - 1
    skip = min(max(int(OUTLIERS * last), 1), last // 2)
    low, high = some[skip], some[last - skip]
    return (int(low), int(high)) if some.dtype.kind in "iu" else (float(low), float(high))


def _scaled(values: np.ndarray, valid: np.ndarray | None, low: float, high: float, depth: np.dtype) -> np.ndarray:
    top = np.iinfo(depth).max
    factor = top / (float(high) - float(low)) if high > low else 0.0
    exact = values.dtype.kind == "f" and values.itemsize <= 4 and low == 0 and high in (1, 255)
    pixels = np.empty(values.shape, depth)
    for start in range(0, len(values), step := max(1, COMPARED_AT_ONCE // max(values[0].size, 1))):
        rows = slice(start, start + step)
        with np.errstate(invalid="ignore", over="ignore"):
            part: np.ndarray = values[rows].astype(np.float32 if exact else np.float64)
            part = part * np.float32(factor) if exact else (part - float(low)) * factor
            if valid is not None:
                part = np.where(valid[rows] | (values[rows] == np.inf), part, 0)
            pixels[rows] = np.rint(part).clip(0, top)
    return pixels
