"""The history of a bulk output: what the manifests of its finished runs say."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recast.pipeline.output.index import RUNS
from recast.pipeline.report.output import Output, number, part, text
from recast.pipeline.urls import shown
from recast.pipeline.wording import moment

MOST_RUNS = 100
"""Manifests read; an output on a schedule gathers thousands."""
HIDDEN = "hmac:"
"""What the source's address begins with in the manifest of a run that hides names."""
STAGES = ("fetch", "decode", "generate", "encode", "write")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished run. What its manifest doesn't say is None or empty."""

    name: str
    job: str
    source: str
    model: Mapping[str, Any]
    spec: Mapping[str, Any]
    spec_digest: str
    versions: Mapping[str, Any]
    ok: int
    failed: int
    held: int
    settled_before: int
    read_bytes: float | None
    written_bytes: float | None
    wall_s: float | None
    stages_s: Mapping[str, float]
    """Seconds summed over all workers, by stage."""
    images_per_s: float | None
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def settled(self) -> int:
        return self.ok + self.failed + self.held


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All the read runs together."""

    images: int
    images_per_s: float | None
    read_bytes: float
    written_bytes: float
    wall_s: float
    stages: tuple[tuple[str, float], ...]
    """Stage and its share of the work, for those that took any."""


def read_runs(output: Output) -> tuple[tuple[Run, ...], int]:
    """The newest runs, newest first, and how many older ones were left unread. A damaged manifest counts as unread."""
    names = output.names(RUNS, ".json")
    manifests = [output.read_json(f"{RUNS}/{name}") for name in names[-MOST_RUNS:]]
    runs = [_run(manifest) for manifest in manifests if manifest]
    runs.sort(key=lambda run: run.finished_at.timestamp() if run.finished_at else 0.0, reverse=True)
    return tuple(runs), len(names) - len(runs)


def address(output: Output, runs: Sequence[Run]) -> str:
    """Where an output lies, as its page says it: where names are hidden, without the folders above it."""
    hidden = any(run.source.startswith(HIDDEN) for run in runs)
    return f"…/{output.name}" if hidden else output.url


def _run(manifest: Mapping[str, Any]) -> Run:
    manifest = shown(dict(manifest))  # older ones were written with the passwords of URLs
    counts, moved, seconds = (part(manifest, name) for name in ("counts", "bytes", "seconds"))

    def counted(name: str) -> int:
        return round(number(counts.get(name)) or 0)

    return Run(
        name=text(manifest.get("run")),
        job=text(manifest.get("job")),
        source=text(manifest.get("source")),
        model=part(manifest, "model"),
        spec=part(manifest, "spec"),
        spec_digest=text(manifest.get("spec_digest")),
        versions=part(manifest, "versions"),
        ok=counted("ok"),
        failed=counted("failed"),
        held=counted("held"),
        settled_before=counted("settled_before"),
        read_bytes=number(moved.get("read")),
        written_bytes=number(moved.get("written")),
        wall_s=number(seconds.get("wall")),
        stages_s={stage: number(seconds.get(stage)) or 0.0 for stage in STAGES},
        images_per_s=number(manifest.get("images_per_s")),
        started_at=moment(manifest.get("started_at")),
        finished_at=moment(manifest.get("finished_at")),
    )


def total(runs: Sequence[Run]) -> Totals:
    """What the runs did together. The rate is that of the runs that had images to work on."""
    busy = [run for run in runs if run.settled]
    wall = sum(run.wall_s or 0.0 for run in busy)
    images = sum(run.settled for run in busy)
    rate = busy[0].images_per_s if len(busy) == 1 else None
    stages: Counter[str] = Counter()
    for run in busy:
        stages.update(run.stages_s)
    work = sum(stages.values())
    return Totals(
        images=images,
        images_per_s=rate or (images / wall if wall else None),
        read_bytes=sum(run.read_bytes or 0.0 for run in busy),
        written_bytes=sum(run.written_bytes or 0.0 for run in busy),
        wall_s=wall,
        stages=tuple((stage, stages[stage] / work) for stage in STAGES if stages[stage]),
    )
