"""The numbers that a training logs at every so many steps, as one history without the parts that were trained over."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recast.pipeline.report.output import Output, number
from recast.pipeline.wording import moment

LOGS = "logs"
ABOUT_LINE = ("step", "time")


@dataclass(frozen=True)
class History:
    """Every scalar by name, over the steps at which a line was logged."""

    steps: np.ndarray
    """int64 [N], rising."""
    scalars: Mapping[str, np.ndarray]
    """float64 [N] each; NaN where a line lacks the name or holds no finite number."""
    broken: Mapping[str, int]
    """The first step at which a scalar was logged as NaN or infinite, for those that were."""

    def __len__(self) -> int:
        return len(self.steps)


def read_history(output: Output) -> History:
    """All of `logs/scalars-*.jsonl`. A segment begun later replaces what was logged before from its first step on."""
    lines: dict[int, Mapping[str, Any]] = {}
    for segment in sorted(_segments(output), key=_begun):
        first = segment[0]["step"]
        lines = {step: line for step, line in lines.items() if step < first}
        lines.update((line["step"], line) for line in segment)
    steps = sorted(lines)
    names = dict.fromkeys(name for step in steps for name in lines[step] if name not in ABOUT_LINE)
    broken: dict[str, int] = {}
    for step in steps:
        for name, value in lines[step].items():
            if isinstance(value, float) and not math.isfinite(value):
                broken.setdefault(name, step)
    return History(
        steps=np.array(steps, dtype=np.int64),
        scalars={name: np.array([_finite(lines[step].get(name)) for step in steps]) for name in names},
        broken=broken,
    )


def _segments(output: Output) -> Iterator[list[dict[str, Any]]]:
    for name in output.names(LOGS, ".jsonl"):
        if name.startswith("scalars-"):
            segment = list(_lines(output.read(f"{LOGS}/{name}")))
            if segment:
                yield segment


def _lines(data: bytes) -> Iterator[dict[str, Any]]:
    """The whole lines of a segment; a killed writer may have left half of one."""
    for raw in data.splitlines():
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            yield line


def _begun(segment: list[dict[str, Any]]) -> tuple[float, int]:
    """When a segment was begun, by the clock: of two, the one that starts at an earlier step may be the newer."""
    time = segment[0].get("time")
    begun = moment(time)
    return number(time) or (begun.timestamp() if begun else 0.0), segment[0]["step"]


def _finite(value: Any) -> float:
    found = number(value)
    return float("nan") if found is None else found
