"""What a bulk job will take: a sample of the archive is worked on here, and the rest is estimated from it."""

import random
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from recast.pipeline.bulk.accompanied import accompanied
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operation, settings_of
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.further_inputs import fetched
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import inventory

INDEX_BYTES = 300
"""What the index takes for each input."""
DRIVER_BYTES = 320
"""What the driver's memory takes for each settled input (docs/benchmarks.md: 0.3 KiB a row)."""
FURTHER_BYTES = 250
"""What it takes for each further input of one (docs/bulk.md)."""
WARMUP = 1
"""Images that go through first and aren't counted."""


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """Means over the sample, and what they come to for the whole. Seconds are of one core, or of one accelerator."""

    inputs: int
    sampled: int
    unreadable: int
    """How many of the sampled can't be read."""
    device: str
    input_bytes: float
    output_bytes: float
    megapixels: float
    fetch_s: float
    decode_s: float
    generate_s: float
    encode_s: float
    further: int = 0
    """Further inputs that a network takes with each."""

    @property
    def codec_s(self) -> float:
        """A core's time for an image, beside the generator's. Waiting for storage takes no core."""
        return self.decode_s + self.encode_s

    def cores_per_accelerator(self) -> float:
        """So that an accelerator never waits for a decoder."""
        return self.codec_s / self.generate_s if self.generate_s else 0.0

    def core_hours(self) -> float:
        each = self.codec_s + (self.generate_s if self.device == "cpu" else 0.0)
        return each * self.inputs / 3600

    def accelerator_hours(self) -> float:
        return self.generate_s * self.inputs / 3600 if self.device != "cpu" else 0.0

    def bound(self) -> str:
        """What takes the longest on a machine that is balanced for nothing else."""
        if self.fetch_s > self.codec_s + self.generate_s:
            return "storage"
        return "generator" if self.generate_s >= self.codec_s else "codecs"

    def to_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "core_hours": self.core_hours(),
            "accelerator_hours": self.accelerator_hours(),
            "cores_per_accelerator": self.cores_per_accelerator() if self.device != "cpu" else None,
            "bound": self.bound(),
            "bytes_read": self.input_bytes * self.inputs,
            "bytes_written": (self.output_bytes + INDEX_BYTES) * self.inputs,
            "driver_bytes": (DRIVER_BYTES + FURTHER_BYTES * self.further) * self.inputs,
        }


def sized(job: BulkJob, operation: Operation, *, sample: int, seed: int = 0) -> Sizing:
    """List a job's source, and put a random sample of it through the job's stages in this process, one at a time.

    Nothing is written. On an accelerator the generator's time is of one image at a time; batches are faster.

    Raises:
        StorageError, BundleError: the source or the bundle can't be read.
        InputError: not one of the sampled images can be read.
    """
    listing = inventory(job.source, listing_of=operation.listing_of)
    count, chosen = sampled(operation.listed(listing, run=False), sample + WARMUP, seed)
    if not chosen:
        return Sizing(
            inputs=0, sampled=0, unreadable=0, device="cpu", input_bytes=0, output_bytes=0, megapixels=0, fetch_s=0,
            decode_s=0, generate_s=0, encode_s=0,
        )  # fmt: skip
    device = "cuda" if job.device != "cpu" and torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measured = _measured(job, operation, chosen, device)
    finally:
        torch.set_num_threads(threads)
    good = [row for row in measured if row is not None]
    if not good:
        raise InputError("unreadable", f"none of {len(measured)} sampled images of {job.source} can be worked on")
    means = np.mean(good[WARMUP:] or good, axis=0)
    names = ("input_bytes", "output_bytes", "megapixels", "fetch_s", "decode_s", "generate_s", "encode_s")
    return Sizing(
        inputs=count,
        sampled=len(measured),
        unreadable=len(measured) - len(good),
        device=device,
        further=len(job.inputs),
        **dict(zip(names, map(float, means), strict=True)),
    )


def sampled(items: Iterable[Input], wanted: int, seed: int) -> tuple[int, list[Input]]:
    """How many there are, and some of them, each as likely as the others (Vitter 1985, algorithm R)."""
    chosen: list[Input] = []
    rng, count = random.Random(f"sample {seed}"), 0
    for count, item in enumerate(items, 1):
        if len(chosen) < wanted:
            chosen.append(item)
        elif (place := rng.randrange(count)) < wanted:
            chosen[place] = item
    return count, chosen


def _measured(job: BulkJob, operation: Operation, items: list[Input], device: str) -> list[tuple[float, ...] | None]:
    operator = operation.payload().operator(settings_of(job, operation, run="none", device=device, threads=0))
    rows: list[tuple[float, ...] | None] = []
    for item in items:
        try:
            times = [time.perf_counter()]
            data = read(item, job.max_input_bytes)
            further = fetched(item.further, job.max_input_bytes)
            times.append(time.perf_counter())
            picture = job.encoder.fitted(operator.decode(data, job.max_pixels))
            picture = accompanied(picture, further, job.max_pixels)
            times.append(time.perf_counter())
            (result,) = operator([picture], [item])
            times.append(time.perf_counter())
            if isinstance(result, InputError):
                raise result
            made = job.encoder.encode(job.encoder.fitted(result.picture)) if result.picture else b""
            times.append(time.perf_counter())
        except InputError:
            rows.append(None)
            continue
        taken = len(data) + sum(len(each.data) for each in further)
        rows.append((taken, len(made), picture.width * picture.height / 1e6, *np.diff(times)))
    return rows
