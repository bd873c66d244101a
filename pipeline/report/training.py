"""What the page about a training says, gathered from its record, its logs and its newest bundle."""

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from recast.pipeline import storage
from recast.pipeline.report.curves import Chart, chart
from recast.pipeline.report.output import Output, number, part, text
from recast.pipeline.report.samples import Grid, read_grids
from recast.pipeline.report.scalars import History, read_history
from recast.pipeline.training.health import STARVED, WAITING, HealthWarning, seen
from recast.pipeline.wording import moment

RATE = "images_per_s"
CHECKPOINT = re.compile(r"step-(\d+)\.pt")
GROUPS = {"G": "Generator", "F": "Generator", "D": "Discriminator"}
COLUMNS = ("Input", "Output", "Target")
"""The columns of grids whose run.json doesn't name them."""
MOST_CURVES = 6
"""In one chart; a group with more losses gets several."""
NOT_LEARNED = ("running_mean", "running_var", "num_batches_tracked")
LONGEST_HEADER_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """All that the page of a training shows."""

    url: str
    name: str
    recipe: str
    preset: str
    status: str
    steps: int | None
    planned_steps: float | None
    seconds: float | None
    images_per_s: float | None
    """The median over the logged lines."""
    parameters: float | None
    """Learned numbers in the generator, as bundled or, before the first bundle, as begun."""
    started_at: datetime | None
    finished_at: datetime | None
    counts: Mapping[str, Any]
    spec: Mapping[str, Any]
    versions: Mapping[str, Any]
    bundle: Mapping[str, Any]
    losses: tuple[Chart, ...]
    balance: tuple[Chart, ...]
    small: tuple[Chart, ...]
    """Learning rates and throughput."""
    waiting: float | None
    """Share of the time that the slowest worker waits for examples, the median over the logged lines."""
    starved: bool
    """Whether that is what limits the pace."""
    problem: str
    """Why it failed, if it did."""
    troubles: tuple[HealthWarning, ...]
    """What the scalars tell of trouble."""
    broken: Mapping[str, int]
    """The first step at which a scalar was NaN or infinite, for those that were."""
    checkpoints: tuple[int, ...]
    """Steps that there are checkpoints of, ascending."""
    grids: tuple[Grid, ...]
    columns: tuple[str, ...]
    """What the grids' columns show."""


def gather(output: Output) -> TrainingFacts:
    """Read the record, the logged scalars and some sample grids of a training output."""
    run, bundle = output.read_json("run.json"), output.read_json("bundle/bundle.json")
    history = read_history(output)
    waiting = _median(history.scalars.get(WAITING, np.array([])))
    logged = int(history.steps[-1]) if len(history) else None
    steps = number(run.get("steps"))
    return TrainingFacts(
        url=output.url,
        name=output.name,
        recipe=text(run.get("recipe")),
        preset=text(run.get("preset")),
        status=text(run.get("status")),
        steps=logged if steps is None else round(steps),
        planned_steps=number(part(run, "spec", "config").get("steps")),
        seconds=number(run.get("seconds")),
        images_per_s=_median(history.scalars.get(RATE, np.array([]))),
        parameters=_parameters(output) or number(part(run, "counts", "parameters").get("G")),
        started_at=moment(run.get("started_at")),
        finished_at=moment(run.get("finished_at")),
        counts=part(run, "counts"),
        spec=part(run, "spec"),
        versions=part(run, "versions"),
        bundle=bundle,
        **_charts(history),
        waiting=waiting,
        starved=waiting is not None and waiting > STARVED,
        problem=text(run.get("problem")),
        troubles=tuple(seen(history.scalars, history.steps)),
        broken=history.broken,
        checkpoints=tuple(sorted(_checkpoints(output))),
        grids=read_grids(output),
        columns=tuple(text(name) for name in run.get("columns", COLUMNS)),
    )


def _median(values: np.ndarray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else None


def _checkpoints(output: Output) -> Iterator[int]:
    for name in output.names("checkpoints", ".pt"):
        if match := CHECKPOINT.fullmatch(name):
            yield int(match[1])


def _charts(history: History) -> dict[str, tuple[Chart, ...]]:
    """The scalars sorted into charts: losses by network, the discriminator's balance, and the small ones."""
    names = [name for name, values in history.scalars.items() if np.isfinite(values).any()]
    rates = [name for name in names if name == "lr" or name.startswith(("lr ", "lr_", "lr/"))]
    balance = [name for name in names if is_probability(name)]
    validated = [name for name in names if name.startswith("validation ")]
    losses = [name for name in names if name not in (*rates, *balance, *validated, RATE, WAITING)]
    small = [chart("Learning rate", history, rates[:MOST_CURVES], smoothed=False)] if rates else []
    if RATE in names:
        small.append(chart("Images per second", history, [RATE]))
    if WAITING in names:
        small.append(chart("Share of time waiting for data", history, [WAITING]))
    scores = [chart(name[:1].upper() + name[1:], history, [name], smoothed=False) for name in validated]
    return {
        "losses": (*(chart(title, history, group, logarithmic=True) for title, group in grouped(losses)), *scores),
        "balance": (chart("Balance", history, balance[:MOST_CURVES], guide=0.5),) if balance else (),
        "small": tuple(small),
    }


def is_probability(name: str) -> bool:
    """`D(x)`, `D(G(z))`, `D_A(x)`: what a discriminator says, not a loss."""
    return name.startswith("D") and "(" in name and name.endswith(")") and " " not in name


def grouped(losses: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Losses by the network in their first word (`G cycle`, `D_A real`), generators first; what is left, together."""
    groups: dict[str, list[str]] = {"Generator": [], "Discriminator": [], "Measures": []}
    for name in losses:
        word = name.replace("/", " ").replace("_", " ").split(" ")[0]
        groups[GROUPS.get(word, "Measures")].append(name)
    return [
        (title, members[start : start + MOST_CURVES])
        for title, members in groups.items()
        for start in range(0, len(members), MOST_CURVES)
    ]


def _parameters(output: Output) -> int | None:
    """Counted from the header of the bundle's safetensors file, without reading the weights."""
    path = "bundle/generator.safetensors"
    try:
        (length,) = struct.unpack("<Q", output.read(path, 0, 8))
        tensors = part(json.loads(output.read(path, 8, min(length, LONGEST_HEADER_BYTES))))
    except (OSError, ValueError, struct.error, storage.StorageError):
        return None
    learned = [n for n in tensors if n != "__metadata__" and not n.endswith(NOT_LEARNED)]
    return sum(math.prod(part(tensors[name]).get("shape", [])) for name in learned) or None
