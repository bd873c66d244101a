"""The commit of a unit's results: shards in the order of the inputs, each followed by the fragment that counts.

A shard stands here for the files of its results, too, where they are plain files.
"""

import datetime
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from structlog.typing import FilteringBoundLogger

from recast.pipeline import storage
from recast.pipeline.bulk.attempts import Attempt, AttemptLog
from recast.pipeline.bulk.operation import Operator
from recast.pipeline.bulk.sample import Sample, in_order
from recast.pipeline.bulk.tally import Tally
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.output.index import FILES, INDEX, SHARDS, stem_of, write_fragment
from recast.pipeline.output.lease import LeaseError, confirm
from recast.pipeline.output.rows import Row, table
from recast.pipeline.output.shards import SOURCES, PlainFiles, Shard, shard, shard_facts
from recast.pipeline.output.sidecars import write_sidecars
from recast.pipeline.sources.hidden import sentence_of, without_names
from recast.pipeline.urls import without_secrets

Sidecars = defaultdict[str, list[dict[str, Any]]]
"""Rows that lie beside a shard, by kind."""

MOST_MISTAKES = 20
"""Mistakes in a row after which nobody expects the next input to fare better."""


class MistakesError(Exception):
    """Input after input meets a mistake of our own."""

    exit_status = 1


class Writer:
    """Writes what a worker's stages give. What has no fragment did not happen, and before each fragment it is asked
    whether this run still holds the output's lease and this attempt its unit."""

    def __init__(
        self,
        settings: WorkerSettings,
        operator: Operator,
        attempts: AttemptLog,
        tally: Tally,
        log: FilteringBoundLogger,
    ) -> None:
        self._settings, self._job, self._operator = settings, settings.job, operator
        self._attempts, self._tally = attempts, tally
        self._fs, self._output = storage.filesystem(self._job.output)
        self._epoch = settings.claim.epoch if settings.claim else 0
        self._mistakes_in_row = 0
        self._log = log

    def write(self, samples: Iterable[Sample], unit: str, attempt: Attempt) -> None:
        """Shards closed by count and by size, whichever comes first; each committed before the next begins."""
        if attempt.number > 1:
            self._take_back(unit, attempt)
        left, part, more = in_order(samples), 0, True
        while more:
            shard_name = f"{stem_of(unit, self._epoch, part)}.{self._job.shards}"
            rows: list[Row] = []
            sidecars: Sidecars = defaultdict(list)
            with self._container(unit, attempt) as filling:
                more = self._fill(filling, shard_name, left, rows, sidecars)
                if rows:
                    about = self._write_shard(filling, shard_name, sidecars)
                    self._check_fence(unit, attempt)
                    self._write_fragment(shard_name, rows, about)
                    self._log.info(
                        "shard committed", shard=shard_name, rows=len(rows), images=filling.images, bytes=filling.length
                    )
            part += 1

    def _container(self, unit: str, attempt: Attempt) -> Shard:
        if self._job.shards == "files":
            return PlainFiles(lambda: self._check_fence(unit, attempt))
        return shard(self._job.shards, sources=SOURCES in self._settings.about)

    def _take_back(self, unit: str, attempt: Attempt) -> None:
        """Remove what earlier attempts at a unit left: this one may cut it into other parts, and on some devices its
        bytes may differ. A fragment goes before its shard; files of results are written over."""
        self._check_fence(unit, attempt)
        mine = stem_of(unit, self._epoch).rpartition("-")[0] + "-"
        for folder in (INDEX, SHARDS, *self._settings.sidecars):
            for name in storage.sizes(self._fs, storage.join(self._output, folder)):
                if name.startswith(mine):
                    storage.remove(self._fs, storage.join(self._output, folder, name))

    def _check_fence(self, unit: str, attempt: Attempt) -> None:
        """Raise LeaseError if what is written now would come too late."""
        if self._settings.claim:
            confirm(self._fs, self._output, self._settings.claim)
        if not self._attempts.may_commit(unit, attempt.number):
            raise LeaseError("another worker has taken up this worker's unit, which was given up for lost")

    def _write_shard(self, shard: Shard, name: str, sidecars: Sidecars) -> dict[str, str]:
        """A shard and its sidecars. Returns what its fragment says of it."""
        about = dict(self._settings.about)
        with self._tally.timed("write"):
            if shard.images and self._job.shards == "files":
                self._tally.count(bytes_written=shard.commit(self._fs, storage.join(self._output, FILES)))
            elif shard.images:
                size = shard.commit(self._fs, storage.join(self._output, SHARDS, name))
                about |= shard_facts(name, size, shard.sha256)
                self._tally.count(bytes_written=size, shards=1)
            for kind, rows in sidecars.items():
                write_sidecars(self._fs, self._output, kind, name.rpartition(".")[0], rows)
        return about

    def _write_fragment(self, name: str, rows: list[Row], about: dict[str, str]) -> None:
        with self._tally.timed("write"):
            write_fragment(self._fs, self._output, name, table(rows, about))

    def _fill(self, shard: Shard, name: str, samples: Iterator[Sample], rows: list[Row], sidecars: Sidecars) -> bool:
        """Add samples until the shard is full. Returns whether there may be more."""
        beside_bytes = 0
        for sample in samples:
            if sample.untried:
                self._leave(name, sample)
                continue
            self._mistakes_in_row = 0
            rows.append(self._row(shard, name, sample))
            result = sample.result if rows[-1].status == "ok" else None
            for kind, beside in self._operator.sidecars(rows[-1], sample.item, result):
                assert kind in self._settings.sidecars, "an operation states what lies beside its shards"
                sidecars[kind].append(beside)
                beside_bytes += sum(len(value) for value in beside.values() if isinstance(value, bytes))
            if shard.images >= self._job.shard_images or shard.length + beside_bytes >= self._job.shard_bytes:
                return True
        return False

    def _leave(self, shard: str, sample: Sample) -> None:
        """Leave an input for the next run. Raises MistakesError where that would leave all that come after it, too."""
        key, why = sample.item.key, sample.untried
        self._tally.count(untried=1, untried_because=why)
        if not sample.mistake:
            self._log.warning("input untried", shard=shard, key=key, error=why)
            return
        self._tally.mistake(f"{key} ({why})", sample.mistake)
        self._log.error("mistake", shard=shard, key=key, error=why, traceback=sample.mistake)
        self._mistakes_in_row += 1
        if self._mistakes_in_row == MOST_MISTAKES:
            raise MistakesError(f"{MOST_MISTAKES} inputs in a row met a mistake in Recast, {key} the last ({why})")

    def _row(self, shard: Shard, name: str, sample: Sample) -> Row:
        row = Row(
            key=sample.item.key,
            source=without_secrets(sample.item.source),
            fingerprint=sample.item.fingerprint,
            status="failed",
            source_width=sample.source_size[0],
            source_height=sample.source_size[1],
            model=self._settings.model,
            spec=self._settings.spec,
            run=self._settings.run,
            finished_at=datetime.datetime.now(datetime.UTC),
            epoch=self._epoch,
        )
        if sample.fault is not None:
            row.error = without_secrets(f"{sample.fault.kind}: {sentence_of(sample.fault, sample.item)}")
            row.status = "held" if self._settings.fails_closed else sample.fault.status
            self._tally.settled(row.status, sample.fault.kind)
            self._log.warning(f"input {row.status}", shard=name, key=row.key, kind=sample.fault.kind, error=row.error)
            return row
        result = sample.result
        assert result is not None  # a sample without a fault has gone through every stage
        row.status = "ok"
        if result.regions is not None:
            row.regions = without_names(result.regions, sample.item)
        row.scores = None if result.scores is None else list(result.scores)
        if (picture := result.picture) is not None:
            assert sample.data is not None
            row.shard = None if self._job.shards == "files" else name
            row.format, row.notes = self._job.encoder.format, list(picture.notes) or None
            row.width, row.height, row.channels = picture.width, picture.height, self._job.encoder.channels(picture)
            shard.add(row, sample.data, self._job.encoder.extension)
        self._tally.settled(row.status)
        return row
