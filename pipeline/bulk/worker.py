"""A worker of the bulk road: takes a unit of inputs, settles every one of them, and commits shards and index rows."""

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
from structlog.typing import FilteringBoundLogger

from recast.pipeline import events, storage
from recast.pipeline.bulk.attempts import FATAL_DEATHS, Attempt, AttemptLog, Attempts
from recast.pipeline.bulk.operation import OperationPayload
from recast.pipeline.bulk.sample import Sample
from recast.pipeline.bulk.stages import stages
from recast.pipeline.bulk.tally import Tally
from recast.pipeline.bulk.units import unit_id, unpack_unit
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.bulk.writer import MistakesError, Writer
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.lease import LeaseError
from recast.pipeline.output.shards import ScratchError
from recast.pipeline.sources.inputs import Input

_CRASH = InputError("crash", f"{FATAL_DEATHS} processes died while this image was in hand, and it alone")


class UnitWorker:
    """Pure unit -> results, once built; Ray calls it, a test can too."""

    def __init__(
        self,
        settings: WorkerSettings,
        payload: OperationPayload,
        *,
        send: Callable[[dict[str, int]], object] | None = None,
        attempts: AttemptLog | None = None,
        taken_up: Callable[[Input], None] | None = None,
        enough: Callable[[], bool] = lambda: False,
        log: FilteringBoundLogger | None = None,
    ) -> None:
        """
        Args:
            send: is told now and then what was counted since.
            attempts: outlives the worker, where it may die and another take up its unit.
            taken_up: is told of each input before anything is made of its bytes.
            enough: is asked before each input whether what is left of the unit is left to others.
            log: of what happens; by default one that Ray keeps for its workers.
        """
        self._settings = settings
        self._tally = Tally(send)
        self._attempts = attempts or Attempts()
        self._enough = enough
        self._log = log or events.log(run=settings.run, output=settings.job.output)
        operator = payload.operator(settings)
        self._stages = stages(settings, operator, self._tally, taken_up)
        self._writer = Writer(settings, operator, self._attempts, self._tally, self._log)

    def __call__(self, unit: pa.Table) -> pa.Table:
        """A unit's inputs as a table -> one row of counts: what was settled, what was left, and where the time went."""
        items = unpack_unit(unit)
        name = unit_id(items, self._settings.model, self._settings.spec, self._settings.job.shards)
        try:
            self._settle(items, name, self._attempts.begin(name))
        except LeaseError as fault:
            self._tally.count(run_fault=str(fault))
            self._log.error("unit not committed", shard=name, error=str(fault))
            return pa.Table.from_pylist([self._tally.report()])  # the unit is another's now, and not done
        except (ScratchError, MistakesError) as fault:
            self._tally.count(run_fault=str(fault))
            self._log.error("shard not written", shard=name, error=str(fault))
        except Exception as fault:
            if not storage.is_storage_fault(fault):
                raise
            self._tally.count(run_fault=f"writing {self._settings.job.output} failed: {storage.sentence(fault)}")
            self._log.error("shard not written", shard=name, error=storage.sentence(fault))
        self._attempts.finish(name)
        return pa.Table.from_pylist([self._tally.report()])

    def _settle(self, unit: list[Input], name: str, attempt: Attempt) -> None:
        if attempt.exhausted:
            self._tally.count(run_fault=f"{attempt.number - 1} workers died on one unit of inputs, {_span(unit)}")
            self._log.error(
                "unit given up", shard=name, first=unit[0].key, last=unit[-1].key, deaths=attempt.number - 1
            )
        elif attempt.careful:
            self._writer.write(self._one_by_one(unit, name, attempt), name, attempt)
        else:
            self._writer.write(self._through(self._begun(unit)), name, attempt)

    def _begun(self, unit: list[Input]) -> Iterator[Sample]:
        """The unit's inputs as far as they are to be worked on here."""
        for place, item in enumerate(unit):
            if self._enough():
                return
            yield Sample(item, place)

    def _through(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        for stage in self._stages:
            samples = stage(samples)
        return iter(samples)

    def _one_by_one(self, unit: list[Input], name: str, attempt: Attempt) -> Iterator[Sample]:
        """The stages again, without anything ahead, so that a death has one image to blame."""
        for place, item in enumerate(unit):
            if item.key in attempt.condemned:
                yield Sample(item, place, fault=_CRASH)
                continue
            self._attempts.start(name, item.key)
            yield from self._through([Sample(item, place)])


def _span(unit: list[Input]) -> str:
    return f"from {unit[0].key} to {unit[-1].key}"
