"""What a bulk job is asked to do, and what one run of it did."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal, Self

from pydantic import ByteSize, Field
from pydantic.dataclasses import dataclass as checked

from recast.models.digests import short_digest
from recast.pipeline.bulk.tally import STAGES
from recast.pipeline.checked import CHECKED, documented
from recast.pipeline.images.encode import Encoder
from recast.pipeline.output.shards import Container
from recast.pipeline.precision import Precision
from recast.pipeline.sources.inventory import Source


@documented
@checked(frozen=True, kw_only=True, config=CHECKED)
class BulkSettings:
    """How a bulk job goes about its work: what a person may choose for every one of them.

    Each field is an option of the command line, under its name, with its docstring as help.

    Raises:
        ValidationError: a value is out of its range.
    """

    shards: Container = "tar"
    """What results are packed in: image files in tars, or Parquet files with a column of images; `files` are plain
    files, OUTPUT/files/KEY with the result's ending added where it differs."""
    shard_images: Annotated[int, Field(ge=1)] = 1000
    """Largest number of images in a shard."""
    shard_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(256 << 20)
    """Size at which a shard is closed, such as 512MiB or 1GB."""
    max_pixels: Annotated[int, Field(ge=1)] = 200_000_000
    """Inputs with more pixels fail as too-large, without being decoded."""
    max_input_bytes: Annotated[ByteSize, Field(ge=1)] = ByteSize(1 << 30)
    """Inputs with more bytes, such as 512MiB or 1GB, fail as too-large, without being read."""
    precision: Precision = "fp32"
    """Number format of the network's arithmetic."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network runs."""
    on: Literal["ray", "here"] | None = None
    """Where the work is done. ray: by workers on a cluster; here: in this process. By default the job begins here and
    moves to Ray if much is left to do, and goes to Ray at once where RAY_ADDRESS names a cluster."""
    actors: Annotated[int, Field(ge=1)] | None = None
    """Worker processes; by default one for each GPU, or for each core where there is none."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Images that go through the network together; by default 1 on a CPU, where more is no faster, and 8 on a GPU."""
    replace: bool = False
    """Overwrite results that were made with another bundle or other settings."""
    retry_failed: bool = False
    """Retry inputs that failed earlier."""
    prune: bool = False
    """Remove the bytes and rows of inputs that are gone from the source."""
    limit: Annotated[int, Field(ge=0)] | None = None
    """Process only this many inputs, the first ones."""


@documented
@checked(frozen=True, kw_only=True, config=CHECKED)
class GeneratorSettings(BulkSettings):
    """How a bulk job runs a generator that may be given noise."""

    noise: bool = False
    """Run the generator as pix2pix does (section 3.4): dropout is its noise, which each image's key decides, and batch
    norm takes the image's own statistics."""


@documented
@checked(frozen=True, kw_only=True, config=CHECKED)
class BulkJob(GeneratorSettings):
    """What is mapped, through what, to where, and how."""

    job: str
    """The name of the command."""
    source: Source
    output: str
    model: str = ""
    """URL of a bundle; empty where something else makes the results."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What the bundle's network takes besides the image: URLs of outputs or tables by the inputs' names."""
    making: Mapping[str, Any] = field(default_factory=dict)
    """Settings of that something else which decide results, in JSON's types."""
    encoder: Encoder = field(default_factory=Encoder)

    @classmethod
    def of(cls, settings: BulkSettings, **rest: Any) -> Self:
        """The job with these settings; `rest` are the job's own fields."""
        return cls(**{f.name: getattr(settings, f.name) for f in fields(settings)}, **rest)

    def deciding(self) -> dict[str, Any]:
        """The settings that decide the pixels and bytes of a result, and which inputs fail."""
        return {
            "job": self.job,
            **asdict(self.encoder),
            "precision": self.precision,
            **({"noise": True} if self.noise else {}),  # absent from the digests of outputs older than the setting
            "max_pixels": self.max_pixels,
            "max_input_bytes": self.max_input_bytes,
            **({"inputs": sorted(self.inputs)} if self.inputs else {}),  # likewise; fingerprints cover their content
            **self.making,
        }

    def spec_digest(self) -> str:
        return short_digest(json.dumps(self.deciding(), sort_keys=True).encode())


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
    """How many of the untried a mistake of Recast's own left so."""
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
