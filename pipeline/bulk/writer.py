"""The commit of a unit's results: shards in the order of the inputs, each followed by the fragment that counts."""

import datetime
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from recast.pipeline import events, storage
from recast.pipeline.bulk.attempts import Attempt, AttemptLog
from recast.pipeline.bulk.sample import Sample, in_order
from recast.pipeline.bulk.tally import Tally
from recast.pipeline.deidentify.secrets import seal
from recast.pipeline.deidentify.secrets.names import sentence_of, without_names
from recast.pipeline.output.index import INDEX, SHARDS, stem_of, write_fragment
from recast.pipeline.output.lease import LeaseError, confirm
from recast.pipeline.output.rows import Row, table
from recast.pipeline.output.seals import remove_seals, write_seals
from recast.pipeline.output.shards import Shard, shard, shard_facts
from recast.pipeline.urls import without_secrets

if TYPE_CHECKING:
    from recast.pipeline.bulk.worker import WorkerSettings


class Committer:
    """Writes what a worker's stages give. What has no fragment did not happen, and before each fragment it is asked
    whether this run still holds the output's lease and this attempt its unit."""

    def __init__(self, work: "WorkerSettings", ledger: AttemptLog, tally: Tally, seal_key: seal.Secret | None) -> None:
        self._work, self._ledger, self._tally, self._seal_key = work, ledger, tally, seal_key
        self._fs, self._output = storage.filesystem(work.output)
        self._epoch = work.claim.epoch if work.claim else 0
        self._log = events.log(run=work.run, output=work.output)

    def write(self, samples: Iterable[Sample], unit: str, attempt: Attempt) -> None:
        """Shards closed by count and by size, whichever comes first; each committed before the next begins."""
        if attempt.number > 1:
            self._take_back(unit, attempt)
        left, part, more = in_order(samples), 0, True
        while more:
            shard_name = f"{stem_of(unit, self._epoch, part)}.{self._work.shards}"
            rows: list[Row] = []
            seals: list[dict[str, Any]] = []
            with shard(self._work.shards) as filling:
                more = self._fill(filling, shard_name, left, rows, seals)
                if rows:
                    about = self._write_shard(filling, shard_name, seals)
                    self._check_fence(unit, attempt)
                    self._write_fragment(shard_name, rows, about)
                    self._log.info(
                        "shard committed", shard=shard_name, rows=len(rows), images=filling.images, bytes=filling.length
                    )
            part += 1

    def _take_back(self, unit: str, attempt: Attempt) -> None:
        """Remove what earlier attempts at a unit left: this one may cut it into other parts, and on some devices its
        bytes may differ. A fragment goes before its shard."""
        self._check_fence(unit, attempt)
        mine = stem_of(unit, self._epoch).rpartition("-")[0] + "-"
        for folder in (INDEX, SHARDS):
            for name in storage.sizes(self._fs, storage.join(self._output, folder)):
                if name.startswith(mine):
                    storage.remove(self._fs, storage.join(self._output, folder, name))
                    remove_seals(self._fs, self._output, name.rpartition(".")[0])

    def _check_fence(self, unit: str, attempt: Attempt) -> None:
        """Raise LeaseError if what is written now would come too late."""
        if self._work.claim:
            confirm(self._fs, self._output, self._work.claim)
        if not self._ledger.may_commit(unit, attempt.number):
            raise LeaseError("another worker has taken up this worker's unit, which was given up for lost")

    def _write_shard(self, shard: Shard, name: str, seals: list[dict[str, Any]]) -> dict[str, str]:
        """A shard and its seals. Returns what its fragment says of it."""
        about = dict(self._work.about)
        with self._tally.timed("write"):
            if shard.images:
                size = shard.commit(self._fs, storage.join(self._output, SHARDS, name))
                about |= shard_facts(name, size, shard.sha256)
                self._tally.count(bytes_written=size, shards=1)
            if seals:
                write_seals(self._fs, self._output, name.rpartition(".")[0], seals)
        return about

    def _write_fragment(self, name: str, rows: list[Row], about: dict[str, str]) -> None:
        with self._tally.timed("write"):
            write_fragment(self._fs, self._output, name, table(rows, about))

    def _fill(
        self, shard: Shard, name: str, samples: Iterator[Sample], rows: list[Row], seals: list[dict[str, Any]]
    ) -> bool:
        """Add samples until the shard is full. Returns whether there may be more."""
        sealed_bytes = 0
        for sample in samples:
            if sample.untried:
                self._tally.count(untried=1, untried_because=sample.untried)
                self._log.warning("input untried", shard=name, key=sample.item.key, error=sample.untried)
                continue
            rows.append(self._row(shard, name, sample))
            new = list(self._sealed(rows[-1], sample))
            seals += new
            sealed_bytes += sum(len(entry["sealed"]) for entry in new)
            if shard.images >= self._work.shard_images or shard.length + sealed_bytes >= self._work.shard_bytes:
                return True
        return False

    def _sealed(self, row: Row, sample: Sample) -> Iterator[dict[str, Any]]:
        """What was replaced in a published picture, and its name where the key hides it, sealed."""
        if self._seal_key is None:
            return
        if sample.item.alias:
            data = seal.sealed_text(self._seal_key, row.key, sample.item.alias)
            yield {"key": row.key, "box": [], "sealed": data}
        picture = sample.picture
        if picture is None or row.status != "ok":
            return
        for number, (box, original) in enumerate(picture.originals):
            assert row.sha256 is not None
            count = len(picture.originals)
            data = seal.sealed(self._seal_key, row.key, row.sha256, box, original, number, count)
            yield {"key": row.key, "box": list(box), "sealed": data}

    def _row(self, shard: Shard, name: str, sample: Sample) -> Row:
        row = Row(
            key=sample.item.key,
            source=without_secrets(sample.item.source),
            fingerprint=sample.item.fingerprint,
            status="failed",
            source_width=sample.source_size[0],
            source_height=sample.source_size[1],
            model=self._work.model,
            spec=self._work.spec,
            run=self._work.run,
            finished_at=datetime.datetime.now(datetime.UTC),
            epoch=self._epoch,
        )
        if sample.fault is not None:
            row.error = without_secrets(f"{sample.fault.kind}: {sentence_of(sample.fault, sample.item)}")
            row.status = "held" if self._work.fails_closed else sample.fault.status
            self._tally.settled(row.status, sample.fault.kind)
            self._log.warning(f"input {row.status}", shard=name, key=row.key, kind=sample.fault.kind, error=row.error)
            return row
        picture, data = sample.picture, sample.data
        assert picture is not None  # a sample without a fault has gone through every stage
        assert data is not None
        row.status, row.shard, row.format = "ok", name, self._work.encoder.format
        row.width, row.height, row.channels = picture.width, picture.height, self._work.encoder.channels(picture)
        row.notes = list(picture.notes) or None
        row.regions = without_names(picture.regions, sample.item) or None
        shard.add(row, data, self._work.encoder.extension)
        self._tally.settled(row.status)
        return row
