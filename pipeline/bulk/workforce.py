"""Whoever works on a run's inputs: the driver's own process as long as little is left to do, then workers on Ray."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from recast.pipeline import reach
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import Operation, settings_of
from recast.pipeline.bulk.units import units
from recast.pipeline.output.lease import Claim
from recast.pipeline.progress import Progress
from recast.pipeline.reasons import plural

if TYPE_CHECKING:
    from recast.pipeline.bulk.here import Here


class Workforce:
    """Works on a run's inputs, wherever that is done soonest. A context manager.

    Torch and Ray are imported only where they are used: they take longer than many a job.
    """

    def __init__(
        self, job: BulkJob, operation: Operation, progress: Progress, *, run: str, claim: Claim, left_behind: str
    ) -> None:
        """
        Args:
            left_behind: the key of an input that a process died of, or with; empty for none.
        """
        self._job, self._operation, self._progress, self._run, self._claim = job, operation, progress, run, claim
        self._left_behind = left_behind
        self._stack = contextlib.ExitStack()
        self._here: Here | None = None

    def __enter__(self) -> "Workforce":
        on_ray, why = where(self._job, self._left_behind)
        self._progress.says(f"{self._job.job}: {why}")
        self._payload = self._operation.payload()
        if on_ray:
            self._to_ray()
        else:
            self._here = self._begun_here()
        return self

    def __exit__(self, *ending: Any) -> bool | None:
        return self._stack.__exit__(*ending)

    def map(self, chunk: pa.Table, planned: int) -> Iterator[dict[str, Any]]:
        """A chunk of the plan -> a report on each unit of it.

        Args:
            planned: how many inputs all chunks until now come to.
        """
        if self._here:
            chunk = yield from self._here.map(chunk)
            if not len(chunk):
                return
            self._hand_over(self._here, len(chunk))
        self._pool.set_planned(planned)
        yield from self._pool.map(self._settings, units(chunk, self._pool.actors, self._job.shard_images))

    def _begun_here(self) -> "Here":
        from recast.pipeline.bulk.here import Here

        here = Here(
            self._job,
            self._operation,
            self._payload,
            self._progress,
            run=self._run,
            claim=self._claim,
            to_the_end=self._job.on == "here",
        )
        return self._stack.enter_context(here)

    def _hand_over(self, here: "Here", left: int) -> None:
        self._progress.says(
            f"{self._job.job}: on Ray from here on, which is sooner done with the {plural(left, 'input')} left, at "
            f"{here.seconds_each():.2g} s each"
        )
        self._stack.close()
        self._here = None
        self._to_ray()
        self._pool.add(here.counts)

    def _to_ray(self) -> None:
        from recast.pipeline import cluster
        from recast.pipeline.bulk.pool import Pool

        self._stack.enter_context(cluster.connected())
        self._pool = self._stack.enter_context(contextlib.closing(Pool(self._job, self._payload, self._progress)))
        self._settings = settings_of(
            self._job,
            self._operation,
            run=self._run,
            device=self._pool.device,
            threads=self._pool.threads,
            claim=self._claim,
        )


def where(job: BulkJob, left_behind: str) -> tuple[bool, str]:
    """Whether a run begins on Ray, and why, in words."""
    if job.on == "ray":
        return True, "on Ray, as --on says"
    if job.on == "here":
        return False, "in this process, as --on says"
    if cluster := reach.cluster_at_hand():
        return True, f"on Ray, on {cluster}"
    if left_behind:
        return True, f"on Ray, since a process that had {left_behind} in hand died"
    return False, "in this process, until a cluster would be sooner done with what is left"
