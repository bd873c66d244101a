"""The pool of actors that a bulk run maps its units through, on Ray Data."""

import logging
import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext

from recast.pipeline import cluster
from recast.pipeline.bulk.attempts import Attempt, Attempts
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.metrics import MeteredCollector
from recast.pipeline.bulk.operation import OperationPayload
from recast.pipeline.bulk.tally import STATUSES
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.progress import Progress
from recast.pipeline.urls import without_secrets

CPUS_PER_ACTOR = 0.5
"""Logical CPUs a CPU actor asks for. Half, so that when a node dies the others have room for its actors: an actor that
can't be placed anywhere would make the run wait for ever."""
WATCH_EVERY_S = 0.5


class Pool:
    """Actors on the cluster, as many and as large as it and the job allow. Needs a connected cluster; close it."""

    def __init__(self, job: BulkJob, payload: OperationPayload, progress: Progress) -> None:
        gpus = cluster.accelerators()
        self.device = ("cuda" if gpus else "cpu") if job.device == "auto" else job.device
        if self.device == "cuda" and not gpus:
            raise cluster.ClusterError("--device cuda: the cluster has no GPU; use --device cpu, or another cluster")
        self.actors = job.actors or (gpus if self.device == "cuda" else cluster.cores())
        self._gpus = 0.0 if self.device == "cpu" else min(1.0, gpus / self.actors)
        self.threads = 0 if self.device == "cpu" else max(1, math.floor(cluster.cores() / self.actors) // 2)
        self._cpus = min(CPUS_PER_ACTOR, cluster.cores() / self.actors)
        cluster.demand(self.actors, self._cpus, self._gpus, f"{self.actors} actors")
        self._payload = ray.put(payload)
        coordinator = ray.remote(RunCoordinator).options(**cluster.driver_node_options())
        self._coordinator = coordinator.remote(job.job, without_secrets(job.output))
        self._progress, self._closed = progress, threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="progress", daemon=True)
        self._watcher.start()

    def map(self, settings: WorkerSettings, units: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
        """Every unit through an actor -> the reports, as they come. A lost actor's unit is done again by another."""
        _quiet()
        # A block is a unit. The driver owns the blocks, so the plan stays the same whatever else dies on the way.
        blocks = [ray.put(unit) for unit in units]
        plan = ray.data.from_arrow_refs(blocks)
        reports = plan.map_batches(
            Actor,
            fn_constructor_args=(settings, [self._payload], self._coordinator),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            compute=ActorPoolStrategy(size=min(self.actors, len(blocks)), max_tasks_in_flight_per_actor=2),
            num_cpus=self._cpus,
            num_gpus=self._gpus or None,
        )
        for block in reports.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            yield from block.to_pylist()

    def set_planned(self, inputs: int) -> None:
        """Say how many inputs all that is mapped comes to."""
        self._coordinator.set_planned.remote(inputs, self.actors)

    def add(self, counts: Mapping[str, int]) -> None:
        """Count what was done before, in another way."""
        self._coordinator.add.remote(dict(counts))

    def close(self) -> None:
        self._closed.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_EVERY_S):
            try:
                counts = ray.get(self._coordinator.counts.remote(), timeout=5)
            except ray.exceptions.RayError:
                continue  # only the view is at stake; the run's own calls tell of a cluster that is gone
            done = sum(counts.get(status, 0) for status in STATUSES)
            self._progress.reached(done, {"failed": counts.get("failed", 0)})


class RunCoordinator(MeteredCollector, Attempts):
    """What the workers of a run report to, in one process that outlives them: how far they are, what is in hand."""

    def __init__(self, job: str, output: str) -> None:
        MeteredCollector.__init__(self, job, output)
        Attempts.__init__(self)


class Actor:
    """A UnitWorker in its Ray process. The payload comes as a reference in a list: Ray would resolve a bare one before
    the actor starts, and then could not start it again elsewhere.
    """

    def __init__(self, settings: WorkerSettings, payload: list[Any], coordinator: Any) -> None:
        self._worker = UnitWorker(
            settings,
            ray.get(payload[0]),
            send=coordinator.add.remote,
            attempts=RemoteAttemptLog(coordinator),
        )

    def __call__(self, unit: pa.Table) -> pa.Table:
        return self._worker(unit)


class RemoteAttemptLog:
    """The log as workers see it: what they say has arrived when the call returns."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def begin(self, unit: str) -> Attempt:
        return ray.get(self._log.begin.remote(unit))

    def start(self, unit: str, key: str) -> None:
        ray.get(self._log.start.remote(unit, key))

    def may_commit(self, unit: str, number: int) -> bool:
        return ray.get(self._log.may_commit.remote(unit, number))

    def finish(self, unit: str) -> None:
        ray.get(self._log.finish.remote(unit))


def _quiet() -> None:
    """Ray Data's own bars and logs give way to the run's progress view; warnings and errors still come."""
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
