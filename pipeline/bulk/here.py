"""A bulk run's only worker in the driver's own process: the same stages and the same writer as on a cluster.

It keeps its pace, and leaves the rest to a cluster as soon as that is known to be done sooner there.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Generator
from typing import Any

import pyarrow as pa
import torch

from recast.pipeline import events, storage
from recast.pipeline.bulk.attempts import Attempts
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operation, OperationPayload, settings_of
from recast.pipeline.bulk.tally import STATUSES
from recast.pipeline.bulk.units import units
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.cores import cores
from recast.pipeline.output import in_hand
from recast.pipeline.output.lease import Claim
from recast.pipeline.progress import Progress
from recast.pipeline.sources.inputs import Input

CLUSTER_START_S = 10.0
"""What a cluster of one's own and its workers take until the first image is in hand (docs/benchmarks.md)."""
MOST_HERE_S = 60.0
"""Work that takes longer than this goes to a cluster even if that is no faster: there the loss of a process costs one
unit of inputs, and the run goes on."""


class DeviceError(Exception):
    """This machine has not what a job asks for."""

    exit_status = 1


def device_here(job: BulkJob) -> str:
    """`cuda` or `cpu`, as the job asks and this machine has it. Raises DeviceError."""
    gpus = torch.cuda.is_available() and torch.cuda.device_count() > 0
    if job.device == "cuda" and not gpus:
        raise DeviceError("--device cuda: this machine has no GPU; use --device cpu, or a cluster that has one")
    return "cuda" if gpus and job.device != "cpu" else "cpu"


class Pace:
    """How fast inputs are settled in one process, and whether several on a cluster would be done sooner with the rest.

    The first input is no measure: with it, libraries warm up.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._first_at, self._first, self._done = 0.0, 0, 0

    def note(self, done: int) -> None:
        """So many inputs are settled by now."""
        if done and not self._first:
            self._first_at, self._first = time.monotonic(), done
        self._done = done

    def seconds_each(self) -> float:
        """Seconds an input; 0 as long as that is not known."""
        since = self._done - self._first
        return (time.monotonic() - self._first_at) / since if since > 0 else 0.0

    def sooner_elsewhere(self, left: int) -> bool:
        """Whether a cluster would be done with so many inputs before this process, or this one for too long."""
        here = left * self.seconds_each()
        return here > MOST_HERE_S or here > CLUSTER_START_S + here / self._workers


class Here:
    """One worker, and its pace. A context manager: the note of what is in hand goes when the block ends."""

    def __init__(
        self,
        job: BulkJob,
        operation: Operation,
        payload: OperationPayload,
        progress: Progress,
        *,
        run: str,
        claim: Claim | None,
        to_the_end: bool,
    ) -> None:
        """
        Args:
            to_the_end: whether all is done here, however long that takes.

        Raises:
            DeviceError: a GPU is asked for and there is none.
        """
        device = device_here(job)
        on_gpu = device == "cuda"
        self.counts: Counter[str] = Counter()
        """What was done here."""
        self._job, self._run, self._progress = job, run, progress
        self._fs, self._output = storage.filesystem(job.output)
        self._pace = Pace(job.actors or (torch.cuda.device_count() if on_gpu else cores()))
        self._planned, self._to_the_end = 0, to_the_end
        self._threads = torch.get_num_threads()
        self._worker = UnitWorker(
            settings_of(
                job, operation, run=run, device=device,
                threads=max(1, cores() // 2) if on_gpu else 0, tensor_threads=cores(), claim=claim,
            ),
            payload,
            send=self._count,
            attempts=Attempts(),
            taken_up=self._note,
            enough=self._enough,
            log=events.driver_log(run=run, output=job.output),
        )  # fmt: skip

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        torch.set_num_threads(self._threads)  # the worker's stages have set their own
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():  # hides no fault of the run's own
            in_hand.clear(self._fs, self._output)

    def map(self, chunk: pa.Table) -> Generator[dict[str, Any], None, pa.Table]:
        """A chunk of the plan -> a report on each of its units as it is done. Returns what is left to a cluster."""
        self._planned += len(chunk)
        begun = 0
        for unit in units(chunk, 1, self._job.shard_images):
            (report,) = self._worker(unit).to_pylist()
            yield report
            taken = sum(report[status] for status in (*STATUSES, "untried"))
            begun += taken
            if taken < len(unit):
                break
        return chunk.slice(begun)

    def seconds_each(self) -> float:
        """Seconds that an input takes here, without the first."""
        return self._pace.seconds_each()

    def _count(self, counts: dict[str, int]) -> None:
        self.counts.update(counts)
        self._pace.note(self._settled() + self.counts["untried"])
        self._progress.reached(self._settled(), {"failed": self.counts["failed"]})

    def _settled(self) -> int:
        return sum(self.counts[status] for status in STATUSES)

    def _note(self, item: Input) -> None:
        in_hand.note(self._fs, self._output, self._run, item.key)

    def _enough(self) -> bool:
        left = self._planned - self._settled() - self.counts["untried"]
        return not self._to_the_end and self._pace.sooner_elsewhere(left)
