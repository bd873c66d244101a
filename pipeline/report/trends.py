"""How an output's runs change from one to the next: what a schedule's owner looks at."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from recast.pipeline.report.runs import Run
from recast.pipeline.wording import count, date, duration, pace, percent

FEWEST = 3
"""Runs that make a trend."""
MOST = 60
"""Bars that are shown, of the newest runs."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One run. Heights are in percent of the chart's."""

    parts: tuple[tuple[str, float], ...]
    """Tone and height, from the bottom up; none where a run has no such number."""
    words: str


@dataclass(frozen=True, kw_only=True)
class Trend:
    """One number of every run, the oldest first."""

    title: str
    newest: str
    usual: str
    """The median of the runs before the newest."""
    highest: str
    """With the word for it: `max 4,988`, `fastest 12.6 s/image`."""
    bars: tuple[Bar, ...]


Number = Callable[[Run], float | None]
Parts = Callable[[Run], tuple[tuple[str, float], ...]]


def trends(runs: Sequence[Run]) -> tuple[Trend, ...]:
    """What changed over the runs (newest first): none where there are too few to say."""
    shown = [run for run in reversed(runs[:MOST]) if run.finished_at]
    if len(shown) < FEWEST:
        return ()
    made = (
        _trend("Inputs processed", shown, lambda run: float(run.settled), count, _by_status),
        _trend("Failed or held", shown, _bad_share, percent, _bad_parts),
        _trend("Pace", shown, lambda run: run.images_per_s if run.settled else None, pace, most="fastest"),
        _trend("Wall time", shown, lambda run: run.wall_s, duration),
    )
    return tuple(trend for trend in made if trend)


def _trend(
    title: str,
    runs: Sequence[Run],
    number: Number,
    words: Callable[[float], str],
    parts: Parts | None = None,
    most: str = "max",
) -> Trend | None:
    known = [value for value in map(number, runs) if value is not None]
    if len(known) < FEWEST:
        return None
    highest = max(known) or 1.0
    bars = []
    for run in runs:
        value = number(run)
        pieces = () if value is None else parts(run) if parts else (("plain", value),)
        scaled = tuple((tone, round(100 * piece / highest, 2)) for tone, piece in pieces if piece)
        said = "nothing to do" if value is None else words(value)
        bars.append(Bar(parts=scaled, words=f"{date(run.finished_at)}: {said}"))
    return Trend(
        title=title,
        newest=words(known[-1]),
        usual=words(median(known[:-1])),
        highest=f"{most} {words(max(known))}",
        bars=tuple(bars),
    )


def _by_status(run: Run) -> tuple[tuple[str, float], ...]:
    return (("ok", run.ok), ("failed", run.failed), ("held", run.held))


def _bad_share(run: Run) -> float | None:
    return (run.failed + run.held) / run.settled if run.settled else None


def _bad_parts(run: Run) -> tuple[tuple[str, float], ...]:
    return (("failed", run.failed / run.settled), ("held", run.held / run.settled))
