"""The actor of the bulk road: takes a unit of inputs, settles every one of them, and commits shards and index rows."""

import datetime
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pyarrow as pa
import torch

from recast.pipeline import events, storage
from recast.pipeline.ahead import ahead
from recast.pipeline.bulk.attempts import FATAL_DEATHS, Attempt, Attempts, Ledger
from recast.pipeline.bulk.makers import Kit
from recast.pipeline.bulk.tally import Tally
from recast.pipeline.bulk.units import unit_id, unpack_unit
from recast.pipeline.deidentify.secrets import seal
from recast.pipeline.deidentify.secrets.names import sentence_of, storage_sentence_of, without_names
from recast.pipeline.images.contents import read
from recast.pipeline.images.decode import decode
from recast.pipeline.images.encode import Encoder
from recast.pipeline.images.faults import Fault
from recast.pipeline.images.inputs import Input
from recast.pipeline.images.pictures import Picture
from recast.pipeline.images.profiles import checked, exchanged
from recast.pipeline.output.index import SHARDS, write_fragment
from recast.pipeline.output.rows import Row, table
from recast.pipeline.output.seals import write_seals
from recast.pipeline.output.shards import Container, Shard, shard
from recast.pipeline.precision import Precision
from recast.pipeline.urls import without_secrets

FETCH_AHEAD = 4
"""Inputs on their way from storage while others are worked on."""
ALONE_PIXELS = 2 << 20
"""A larger picture waits for no others of its shape: its tiles fill batches by themselves, and memory is dear."""
STREAMS = 2
"""Threads that feed an accelerator, each with a stream of its own: one's copies overlap with the other's kernels."""
OPEN_GROUPS_BATCHES = 4
"""How many batches' worth of pictures may wait for others of their shape before the oldest go through by themselves."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Everything a worker must know; the same for all workers of a run."""

    output: str
    run: str
    model: str
    spec: str
    encoder: Encoder
    precision: Precision
    noise: bool = False
    device: str
    batch_size: int
    threads: int
    """For decoding and for encoding each, beside an accelerator. 0 without one: every core is then busy in a generator
    of its own, and pixels stay in the thread, and the cache, that they are in."""
    shards: Container
    shard_images: int
    shard_bytes: int
    max_pixels: int
    max_input_bytes: int
    fails_closed: bool = False
    """Whether an image that can't be processed is held, as one that a policy keeps back."""
    about: dict[str, str]
    """For the fragments' metadata: the names behind `model` and `spec`."""


@dataclass(slots=True)
class Sample:
    """One input on its way through the stages: bytes, a picture, bytes again, or a fault on the way."""

    item: Input
    picture: Picture | None = None
    data: bytes | None = None
    fault: Fault | None = None
    untried: str = ""
    """A fault of storage, not of the image: the input is left for the next run."""
    source_size: tuple[int | None, int | None] = (None, None)


_CRASH = Fault("crash", f"{FATAL_DEATHS} processes died while this image was in hand, and it alone")


class ShardMaker:
    """Pure unit -> results, once built; Ray calls it, a test can too."""

    def __init__(self, work: Work, kit: Kit, collector: Any | None = None, ledger: Ledger | None = None) -> None:
        torch.set_num_threads(1 if work.device == "cpu" else max((os.cpu_count() or 2) // 2, 1))
        self._work = work
        self._fs, self._output = storage.filesystem(work.output)
        self._mapper, self._seal_key = kit.mapper(work), kit.seal_key
        self._fetchers = ThreadPoolExecutor(FETCH_AHEAD, "fetch")
        self._codecs = ThreadPoolExecutor(2 * work.threads, "codec") if work.threads else None
        self._streams = _streams(work.device)
        self._tally = Tally(collector)
        self._ledger = ledger or Attempts()
        self._log = events.log(run=work.run, output=work.output)

    def __call__(self, unit: pa.Table) -> pa.Table:
        """A unit's inputs as a table -> one row of counts: what was settled, what was left, and where the time went."""
        items = unpack_unit(unit)
        name = unit_id(items, self._work.model, self._work.spec, self._work.shards)
        try:
            self._settle(items, name, self._ledger.begin(name))
        except Exception as fault:
            if not storage.is_storage_fault(fault):
                raise
            self._tally.count(run_fault=f"writing {self._work.output} failed: {storage.sentence(fault)}")
            self._log.error("shard not written", shard=name, error=storage.sentence(fault))
        self._ledger.done(name)
        return pa.Table.from_pylist([self._tally.report()])

    def _settle(self, unit: list[Input], name: str, attempt: Attempt) -> None:
        if attempt.exhausted:
            self._tally.count(run_fault=f"{attempt.number - 1} workers died on one unit of inputs, {_span(unit)}")
            self._log.error(
                "unit given up", shard=name, first=unit[0].key, last=unit[-1].key, deaths=attempt.number - 1
            )
        elif attempt.careful:
            self._write(self._one_by_one(unit, name, attempt), name)
        else:
            fetched = ahead(self._fetch, unit, self._fetchers, FETCH_AHEAD)
            generated = self._generate(self._codec(self._decode, fetched))
            self._write(self._codec(self._encode, generated), name)

    def _codec(self, stage: Callable[[Sample], Sample], samples: Iterable[Sample]) -> Iterator[Sample]:
        """Decoding or encoding: in threads ahead of who consumes it, or right here."""
        return ahead(stage, samples, self._codecs, 2 * self._work.threads) if self._codecs else map(stage, samples)

    def _one_by_one(self, unit: list[Input], name: str, attempt: Attempt) -> Iterator[Sample]:
        """The stages again, without anything ahead, so that a death has one image to blame."""
        for item in unit:
            if item.key in attempt.condemned:
                yield Sample(item, fault=_CRASH)
                continue
            self._ledger.take(name, item.key)
            yield from map(self._encode, self._generate([self._decode(self._fetch(item))]))

    def _fetch(self, item: Input) -> Sample:
        sample = Sample(item)
        try:
            with self._tally.timed("fetch"):
                sample.data = read(item, self._work.max_input_bytes)
            self._tally.count(bytes_read=len(sample.data))
        except Fault as fault:
            sample.fault = fault
        except Exception as fault:
            if not storage.is_storage_fault(fault):
                raise
            sample.untried = storage_sentence_of(fault, item)
        return sample

    def _decode(self, sample: Sample) -> Sample:
        data, sample.data = sample.data, None
        if data is not None:
            try:
                with self._tally.timed("decode"):
                    sample.picture = self._work.encoder.fitted(self._coloured(decode(data, self._work.max_pixels)))
                sample.source_size = (sample.picture.width, sample.picture.height)
            except Fault as fault:
                sample.fault = fault
        return sample

    def _coloured(self, picture: Picture) -> Picture:
        """The picture with a sound profile; where it is to tell nothing of its origin, with none of its own."""
        if self._work.fails_closed:
            return exchanged(picture, tagged=self._work.encoder.metadata != "strip")
        return checked(picture)

    def _generate(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        groups = self._groups(samples)
        if self._streams is None:
            return chain.from_iterable(map(self._generated, groups))
        return chain.from_iterable(ahead(self._generated, groups, self._streams, STREAMS + 1))

    def _groups(self, samples: Iterable[Sample]) -> Iterator[list[Sample]]:
        """Pictures of one shape go through together, without waiting for ever on rare shapes."""
        size = self._work.batch_size
        groups: dict[tuple[int, ...], list[Sample]] = {}
        for sample in samples:
            if sample.picture is None or sample.picture.width * sample.picture.height > ALONE_PIXELS:
                yield [sample]
                continue
            group = groups.setdefault(sample.picture.pixels.shape, [])
            group.append(sample)
            if len(group) == size:
                yield groups.pop(sample.picture.pixels.shape)
            elif sum(map(len, groups.values())) >= OPEN_GROUPS_BATCHES * size:
                yield groups.pop(next(iter(groups)))
        yield from groups.values()

    def _generated(self, group: list[Sample]) -> list[Sample]:
        pictures = [(sample.item, sample.picture) for sample in group if sample.picture is not None]
        if not pictures:
            return group  # a fault, on its way to its row
        with self._tally.timed("generate"):
            results = self._results(pictures)
        for sample, result in zip(group, results, strict=True):
            sample.picture = result if isinstance(result, Picture) else None
            sample.fault = result if isinstance(result, Fault) else None
        return group

    def _results(self, pictures: list[tuple[Input, Picture]]) -> list[Picture | Fault]:
        """What the generator gives; where it fails, the pictures are tried alone, so that one spoils no other."""
        try:
            return self._mapper([picture for _, picture in pictures], [item for item, _ in pictures])
        except torch.AcceleratorError:
            raise  # the device is in disarray, and would fail every picture after this one too
        except Exception as fault:  # out of memory, above all: a picture's fault, not the run's
            if len(pictures) > 1:
                return [self._results([picture])[0] for picture in pictures]
            return [Fault("generator", str(fault).partition("\n")[0] or type(fault).__name__)]

    def _encode(self, sample: Sample) -> Sample:
        if sample.picture is not None:
            with self._tally.timed("encode"):
                try:
                    sample.data = self._work.encoder.encode(sample.picture)
                except Fault as fault:
                    sample.fault = fault
        return sample

    def _write(self, samples: Iterable[Sample], name: str) -> None:
        """Shards closed by count and by size, whichever comes first; each committed before the next begins."""
        left, part = iter(samples), 0
        more = True
        while more:
            shard_name = f"{name}-{part:03d}.{self._work.shards}"
            rows: list[Row] = []
            seals: list[dict[str, Any]] = []
            with shard(self._work.shards) as filling:
                more = self._fill(filling, shard_name, left, rows, seals)
                if rows:
                    self._commit(filling, shard_name, rows, seals)
            part += 1

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

    def _commit(self, shard: Shard, name: str, rows: list[Row], seals: list[dict[str, Any]]) -> None:
        """The shard and its seals first, its fragment after them: what has no fragment did not happen."""
        about = dict(self._work.about)
        with self._tally.timed("write"):
            if shard.images:
                size = shard.commit(self._fs, storage.join(self._output, SHARDS, name))
                about |= {"recast.shard": name, "recast.shard_bytes": str(size)}
                self._tally.count(bytes_written=size, shards=1)
            if seals:
                write_seals(self._fs, self._output, name.rpartition(".")[0], seals)
            write_fragment(self._fs, self._output, name, table(rows, about))
        self._log.info("shard committed", shard=name, rows=len(rows), images=shard.images, bytes=shard.length)


def _streams(device: str) -> ThreadPoolExecutor | None:
    return None if device == "cpu" else ThreadPoolExecutor(STREAMS, "generate", _own_stream)


def _own_stream() -> None:
    torch.cuda.synchronize()  # the weights have arrived, on the default stream
    torch.cuda.set_stream(torch.cuda.Stream())


def _span(unit: list[Input]) -> str:
    return f"from {unit[0].key} to {unit[-1].key}"
