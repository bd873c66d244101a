"""What a bulk job is asked to do, and what one run of it did."""

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from recast.pipeline.bulk.tally import STAGES
from recast.pipeline.images.encode import Encoder
from recast.pipeline.output.shards import Container
from recast.pipeline.precision import Precision
from recast.pipeline.sources.inventory import Source


@dataclass(frozen=True, kw_only=True)
class BulkJob:
    """What is mapped, through what, to where, and how."""

    job: Literal["translate", "upscale", "deidentify", "restore"]
    source: Source
    output: str
    model: str = ""
    """URL of a bundle; empty where something else makes the results."""
    making: Mapping[str, Any] = field(default_factory=dict)
    """Settings of that something else which decide results, in JSON's types."""
    encoder: Encoder = field(default_factory=Encoder)
    shards: Container = "tar"
    shard_images: int = 1000
    shard_bytes: int = 256 << 20
    max_pixels: int = 200_000_000
    max_input_bytes: int = 1 << 30
    precision: Precision = "fp32"
    noise: bool = False
    """Whether the generator runs as in training: dropout, seeded by each image's key, is the noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    actors: int | None = None
    """None: one for each accelerator, or for each core where there is none."""
    batch_size: int | None = None
    """None: 1 on CPU (where more is no faster), 8 on an accelerator."""
    replace: bool = False
    retry_failed: bool = False
    prune: bool = False
    """Whether what came of inputs that are gone from the source is removed, bytes and rows."""
    limit: int | None = None

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the pixels and bytes of a result, and which inputs fail."""
        return {
            "job": self.job,
            **asdict(self.encoder),
            "precision": self.precision,
            **({"noise": True} if self.noise else {}),  # absent from the digests of outputs older than the setting
            "max_pixels": self.max_pixels,
            "max_input_bytes": self.max_input_bytes,
            **self.making,
        }

    def spec_digest(self) -> str:
        text = json.dumps(self.deciding(), sort_keys=True)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(slots=True)
class Summary:
    """What one run did."""

    run: str
    started_at: datetime.datetime
    inputs: int = 0
    settled_before: int = 0
    ok: int = 0
    failed: int = 0
    held: int = 0
    untried: int = 0
    mistakes: int = 0
    """Of the untried, those that a mistake of Recast's own left so."""
    shards: int = 0
    pruned: int = 0
    """Rows of vanished inputs that were removed."""
    unmatched: int = 0
    """Keys of a user's table of boxes that are no input's."""
    swept: int = 0
    """Shards and fragments without a partner, left by dead runs, that this one removed."""
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage, summed over the workers; `wall` is the run's own."""
    failures: dict[str, int] = field(default_factory=dict)
    """By kind."""
    untried_because: str = ""
    mistake: str = ""
    """The first mistake: whose input it was, and what was raised."""
    mistake_details: str = ""
    """Its traceback."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """What was met while listing and became no input, by the endings of sidecars and by kind."""

    def counts(self) -> dict[str, int]:
        """Inputs in all, and by what became of them."""
        return {
            "inputs": self.inputs,
            "settled_before": self.settled_before,
            "ok": self.ok,
            "failed": self.failed,
            "held": self.held,
        }

    @property
    def failed_share(self) -> float:
        return self.failed / max(self.ok + self.failed, 1)

    def add(self, report: dict[str, Any]) -> None:
        """Take in a worker's report on one unit."""
        self.ok += report["ok"]
        self.failed += report["failed"]
        self.held += report["held"]
        self.untried += report["untried"]
        self.shards += report["shards"]
        self.bytes_read += report["bytes_read"]
        self.bytes_written += report["bytes_written"]
        for stage in STAGES:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + report[f"{stage}_us"] / 1e6
        for failure in report["failures"]:
            self.failures[failure["kind"]] = self.failures.get(failure["kind"], 0) + failure["n"]
        self.mistakes += report["mistakes"]
        if not self.mistake:
            self.mistake, self.mistake_details = report["mistake"], report["mistake_details"]
        self.untried_because = report["untried_because"] or self.untried_because
