"""What a training will take: a few of its steps are taken here, on some of its examples, and the rest is reckoned from
them."""

import dataclasses
import math
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from recast.pipeline import storage
from recast.pipeline.cores import cores
from recast.pipeline.output.lease import Lease
from recast.pipeline.progress import Silent
from recast.pipeline.training import example_files, road
from recast.pipeline.training.layouts import Example
from recast.pipeline.training.preparation import Prepared, prepared
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.spec import resolved

STEPS = 3
"""Steps that are timed; as many go before them and are not, since libraries warm up."""
LEAST_EXAMPLES = 32
"""Examples that the steps are taken with, if a step takes no more."""


@dataclass(frozen=True, kw_only=True)
class TrainingSizing:
    """What was measured here, and what it comes to for the whole training."""

    said: tuple[str, ...]
    """Sentences: what the images were taken for."""
    recipe: str
    preset: str
    steps: int
    batch_size: int
    """Examples of a step, over all workers."""
    workers: int
    share: int
    """Examples of a step that one worker takes; the times are of one worker with as many."""
    examples: int
    device: str
    threads: int
    """The worker's threads on a CPU."""
    step_s: float
    """Seconds of a step here, without reading, checkpoints and the exchange between workers."""
    read_s: float
    """Seconds to read and decode an example here, once."""
    checkpoint_bytes: int
    bundle_bytes: int
    checkpoints: int
    """How many are written in all."""
    kept: int
    """How many checkpoints are kept."""
    decoded_bytes: float
    """Bytes of all examples, decoded."""
    cache_bytes: int
    """What one worker holds of them in memory; the rest lies in a scratch file."""
    memory_bytes: int
    """The most memory that one worker took: of the GPU, or of this process where it trains on a CPU."""

    @property
    def seconds(self) -> float:
        """The whole training at the pace of here: every example read once by as many readers as there are cores, then
        all steps."""
        return self.read_s * self.examples / max(1, cores() * self.workers) + self.step_s * self.steps

    @property
    def rounds(self) -> float:
        """How often each example is seen."""
        return self.steps * self.batch_size / max(1, self.examples)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds, "rounds": self.rounds}


def sized(plan: TrainingSpec) -> TrainingSizing:
    """Prepare a training as `train` does, and take a few steps of it in this process, with one worker's share of a
    batch. What is written lies in a temporary folder, and goes.

    Raises:
        SettingError, StorageError, TrainingError: as `road.train`, before its first step.
    """
    config = resolved(plan)
    share = math.ceil(config.batch_size / plan.workers)
    with tempfile.TemporaryDirectory(prefix="recast-plan-") as folder:
        output = Path(folder) / "out"
        asked = prepared(_tried(plan, share, str(output)))
        assert isinstance(asked, Prepared), "an output that is not there is not finished"
        whole = asked.listing.examples
        few = random.Random(0).sample(whole, min(len(whole), max(LEAST_EXAMPLES, share)))
        read_s, decoded_bytes = _read(few, asked)
        listing = dataclasses.replace(asked.listing, examples=few)
        asked = dataclasses.replace(asked, listing=listing, held_out=())  # the time is that of steps
        with Lease(*storage.filesystem(str(output)), asked.run["started_at"]) as lease:
            outcome = road.trained(asked, lease, Silent())
        on_gpu = bool(plan.gpus_per_worker)
        return TrainingSizing(
            said=asked.said,
            recipe=plan.recipe,
            preset=asked.plan.preset or "",
            steps=config.steps,
            batch_size=config.batch_size,
            workers=plan.workers,
            share=share,
            examples=len(whole),
            device=torch.cuda.get_device_name() if on_gpu else "cpu",
            threads=asked.run["threads_per_worker"],
            step_s=share / outcome.scalars["images_per_s"],
            read_s=read_s,
            checkpoint_bytes=_size(output / "checkpoints"),
            bundle_bytes=_size(output / "bundle"),
            checkpoints=math.ceil(config.steps / plan.checkpoint_every),
            kept=plan.keep_checkpoints,
            decoded_bytes=decoded_bytes * len(whole),
            cache_bytes=plan.cache_bytes,
            memory_bytes=torch.cuda.max_memory_allocated() if on_gpu else _peak_bytes(),
        )


def _tried(plan: TrainingSpec, share: int, output: str) -> TrainingSpec:
    """A short training of one worker, whose second half is what its last logged line is the mean of."""
    return dataclasses.replace(
        plan,
        output=output,
        overrides={**plan.overrides, "batch_size": share},
        steps=2 * STEPS,
        log_every=STEPS,
        checkpoint_every=2 * STEPS,
        workers=1,
        least_workers=None,
        on="here",
        resume_with=False,
    )


def _read(few: Sequence[Example], asked: Prepared) -> tuple[float, float]:
    """Seconds and decoded bytes of one example, by the mean of some."""
    begun, sizes = time.monotonic(), 0
    rows = example_files.rows(few)
    for row in rows:
        sizes += len(example_files.read_row(row, asked.images_per_example, asked.each_region)["pixels"])
    return (time.monotonic() - begun) / len(rows), sizes / len(rows)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
