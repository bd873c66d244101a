"""Scalars as charts: a history thinned to what a screen can show, its scales, and SVG paths."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recast.pipeline.report.scalars import History
from recast.pipeline.wording import plainly, significant

POINTS = 320
"""Places along the step axis; a longer history is gathered into as many parts."""
SMOOTHING = 90
"""The smoothed line's Gaussian has a deviation of 1/90 of the chart's width."""
WIDTH, HEIGHT = 1000, 300
"""Size in the SVG's own coordinates; the page stretches them."""


@dataclass(frozen=True)
class Tick:
    at: float
    """Percent of the axis, from the left or from the bottom."""
    text: str


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One way to draw a chart: linear or logarithmic."""

    kind: str
    ticks: tuple[Tick, ...]
    guide: float | None
    """Where the chart's guiding line lies, in percent from the bottom."""
    raw: tuple[str, ...]
    """SVG path of every curve as logged: from the lowest to the highest value of each part."""
    smooth: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves over one step axis."""

    title: str
    names: tuple[str, ...]
    last: tuple[str, ...]
    """The smoothed value at the end of each curve, as text."""
    scales: tuple[Scale, ...]
    x: tuple[Tick, ...]
    first: int
    """The step at the left end of the axis."""
    steps: tuple[int, ...]
    """The last step at each place along the axis, for reading values off."""
    values: tuple[tuple[str, ...], ...]
    """By curve and place: the smoothed value as text."""


@dataclass(frozen=True)
class Thinned:
    """One scalar at the places of the axis; NaN where nothing was logged."""

    low: np.ndarray
    high: np.ndarray
    smooth: np.ndarray


def places(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The place of each logged step, and the last step at each place."""
    if len(steps) <= POINTS:
        return np.arange(len(steps)), steps
    place = ((steps - steps[0]) * POINTS // (steps[-1] - steps[0] + 1)).astype(np.int64)
    used, place = np.unique(place, return_inverse=True)
    ends = np.zeros(len(used), dtype=np.int64)
    np.maximum.at(ends, place, steps)
    return place, ends


def thin(values: np.ndarray, place: np.ndarray, count: int, *, smoothed: bool) -> Thinned:
    """Lowest, highest and mean value at each of `count` places, the mean smoothed if that is asked."""
    known = np.isfinite(values)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(low, place[known], values[known])
    np.maximum.at(high, place[known], values[known])
    weight = np.bincount(place[known], minlength=count).astype(float)
    mean = np.bincount(place[known], weights=values[known], minlength=count) / np.maximum(weight, 1)
    there = weight > 0
    smooth = _smoothed(mean, there) if smoothed else mean
    return Thinned(*(np.where(there, part, np.nan) for part in (low, high, smooth)))


def _smoothed(mean: np.ndarray, there: np.ndarray) -> np.ndarray:
    """A Gaussian average over the known places around each: it neither lags nor invents values beyond the ends."""
    deviation = len(mean) / SMOOTHING
    if deviation < 0.5:
        return mean
    reach = min(math.ceil(3 * deviation), (len(mean) - 1) // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    known = np.convolve(there.astype(float), kernel, mode="same")
    return np.convolve(np.where(there, mean, 0.0), kernel, mode="same") / np.maximum(known, 1e-12)


def chart(
    title: str,
    history: History,
    names: Sequence[str],
    *,
    guide: float | None = None,
    smoothed: bool = True,
    logarithmic: bool = False,
) -> Chart:
    """Some scalars of a history in one chart.

    `guide` is a value to hold them against; a logarithmic scale is added if asked, and if all values are above zero.
    """
    place, ends = places(history.steps)
    first, span = int(history.steps[0]), max(int(ends[-1] - history.steps[0]), 1)
    thinned = {name: thin(history.scalars[name], place, len(ends), smoothed=smoothed) for name in names}
    across = (ends - first) / span
    scales = [_scale("linear", across, thinned, guide)]
    if logarithmic and min(np.nanmin(curve.low) for curve in thinned.values()) > 0:
        scales.append(_scale("log", across, thinned, guide))
    smooth = [curve.smooth for curve in thinned.values()]
    return Chart(
        title=title,
        names=tuple(names),
        last=tuple(significant(float(s[np.isfinite(s)][-1])) for s in smooth),
        scales=tuple(scales),
        x=tuple(_step_ticks(first, span)),
        first=first,
        steps=tuple(int(step) for step in ends),
        values=tuple(tuple(significant(float(value)) for value in s) for s in smooth),
    )


def _scale(kind: str, across: np.ndarray, curves: Mapping[str, Thinned], guide: float | None) -> Scale:
    shown = np.concatenate([_ordinary(curve) for curve in curves.values()] + ([] if guide is None else [[guide]]))
    low, high = float(shown.min()), float(shown.max())
    ticks = _log_ticks(low, high) if kind == "log" else _linear_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])

    def up(values: np.ndarray) -> np.ndarray:
        bottom, top = (math.log(low), math.log(high)) if kind == "log" else (low, high)
        return ((np.log(values) if kind == "log" else values) - bottom) / (top - bottom)

    x = across * WIDTH
    return Scale(
        kind=kind,
        ticks=tuple(Tick(round(float(up(np.array(tick))) * 100, 2), plainly(tick)) for tick in ticks),
        guide=None if guide is None else round(float(up(np.array(guide))) * 100, 2),
        raw=tuple(_raw_path(x, up(curve.low), up(curve.high)) for curve in curves.values()),
        smooth=tuple(_path(x, up(curve.smooth)) for curve in curves.values()),
    )


def _ordinary(curve: Thinned) -> np.ndarray:
    """The values that the scale has to show: all smoothed ones, and the raw ones but for rare spikes."""
    raw = np.concatenate([curve.low, curve.high])
    return np.concatenate([curve.smooth[np.isfinite(curve.smooth)], np.nanpercentile(raw, [1, 99])])


def _linear_ticks(low: float, high: float) -> list[float]:
    """Three to six round values; from zero, unless the values lie close together far from it."""
    low, high = (min(low, 0.0) if low < (high - low) * 1.5 else low), max(high, 0.0 if low < 0 else high)
    if high - low < 1e-12:
        low, high = low - (abs(low) or 1) * 0.1, high + (abs(high) or 1) * 0.1
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * n for n in (1, 2, 2.5, 5, 10) if size * n >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten, with 2 and 5 between them where the range is short, thinned to at most six."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    if last - first > 2:
        powers = list(range(first, last + 1, math.ceil((last - first) / 5)))
        return [10.0**n for n in powers]
    ticks = [m * 10.0**n for n in range(first, last + 1) for m in (1, 2, 5)]
    start = max((i for i, tick in enumerate(ticks) if tick <= low * (1 + 1e-9)), default=0)
    end = next((i for i, tick in enumerate(ticks) if tick >= high * (1 - 1e-9)), len(ticks) - 1)
    return ticks[start : max(end, start + 1) + 1]


def _step_ticks(first: int, span: int) -> Iterator[Tick]:
    for tick in _linear_ticks(0, first + span):
        if first <= tick <= first + span:
            yield Tick(round((tick - first) / span * 100, 2), plainly(tick))


def _path(x: np.ndarray, up: np.ndarray) -> str:
    known = np.isfinite(up)
    return _line(x[known], up[known])


def _raw_path(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    """Up and down through the extremes of each place, so that a thinned curve keeps its noise."""
    known = np.isfinite(low)
    ends = np.stack([low[known], high[known]], axis=1)
    ends[1::2] = ends[1::2, ::-1]
    same = np.stack([np.ones(len(ends), bool), ends[:, 0] != ends[:, 1]], axis=1)
    return _line(np.repeat(x[known], 2)[same.ravel()], ends.ravel()[same.ravel()])


def _line(x: np.ndarray, up: np.ndarray) -> str:
    y = np.clip((1 - up) * HEIGHT, -HEIGHT, 2 * HEIGHT)
    return "M" + " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
