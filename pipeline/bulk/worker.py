"""The actor of the bulk road: takes a unit of inputs, settles every one of them, and commits shards and index rows."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, count
from typing import Any

import pyarrow as pa
import torch

from recast.pipeline import events, storage
from recast.pipeline.ahead import ahead
from recast.pipeline.bulk.attempts import FATAL_DEATHS, Attempt, AttemptLog, Attempts
from recast.pipeline.bulk.operation import OperationPayload
from recast.pipeline.bulk.sample import Sample
from recast.pipeline.bulk.tally import Tally
from recast.pipeline.bulk.units import unit_id, unpack_unit
from recast.pipeline.bulk.writer import Committer
from recast.pipeline.deidentify.secrets.names import storage_sentence_of
from recast.pipeline.images.decode import decode
from recast.pipeline.images.encode import Encoder
from recast.pipeline.images.pictures import Picture
from recast.pipeline.images.profiles import checked, exchanged
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.lease import Claim, LeaseError
from recast.pipeline.output.shards import Container, ScratchError
from recast.pipeline.precision import Precision
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.inputs import Input

FETCH_AHEAD = 4
"""Inputs on their way from storage while others are worked on."""
AHEAD_BYTES = 128 << 20
"""A larger input is fetched only when it is decoded: of several at once the bytes would fill a worker's memory."""
ALONE_PIXELS = 2 << 20
"""A larger picture waits for no others of its shape: its tiles fill batches by themselves, and memory is dear."""
STREAMS = 2
"""Threads that feed an accelerator, each with a stream of its own: one's copies overlap with the other's kernels."""
OPEN_GROUPS_BATCHES = 4
"""How many batches' worth of pictures may wait for others of their shape before the oldest go through by themselves."""
OVERTAKEN_PIXELS = 16 << 20
"""How much may overtake a picture that waits for others of its shape; four batches of its own may in any case."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
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
    claim: Claim | None = None
    """The claim by which the run may write; None where nobody else can be at work, as in measurements and tests."""
    about: dict[str, str]
    """For the fragments' metadata: the names behind `model` and `spec`."""


_CRASH = InputError("crash", f"{FATAL_DEATHS} processes died while this image was in hand, and it alone")


class UnitWorker:
    """Pure unit -> results, once built; Ray calls it, a test can too."""

    def __init__(
        self,
        work: WorkerSettings,
        payload: OperationPayload,
        collector: Any | None = None,
        ledger: AttemptLog | None = None,
    ) -> None:
        torch.set_num_threads(1 if work.device == "cpu" else max((os.cpu_count() or 2) // 2, 1))
        self._work = work
        self._mapper = payload.operator(work)
        self._fetchers = ThreadPoolExecutor(FETCH_AHEAD, "fetch")
        self._codecs = ThreadPoolExecutor(2 * work.threads, "codec") if work.threads else None
        self._streams = _streams(work.device)
        self._tally = Tally(collector)
        self._ledger = ledger or Attempts()
        self._log = events.log(run=work.run, output=work.output)
        self._committer = Committer(work, self._ledger, self._tally, payload.seal_key)

    def __call__(self, unit: pa.Table) -> pa.Table:
        """A unit's inputs as a table -> one row of counts: what was settled, what was left, and where the time went."""
        items = unpack_unit(unit)
        name = unit_id(items, self._work.model, self._work.spec, self._work.shards)
        try:
            self._settle(items, name, self._ledger.begin(name))
        except LeaseError as fault:
            self._tally.count(run_fault=str(fault))
            self._log.error("unit not committed", shard=name, error=str(fault))
            return pa.Table.from_pylist([self._tally.report()])  # the unit is another's now, and not done
        except ScratchError as fault:
            self._tally.count(run_fault=str(fault))
            self._log.error("shard not written", shard=name, error=str(fault))
        except Exception as fault:
            if not storage.is_storage_fault(fault):
                raise
            self._tally.count(run_fault=f"writing {self._work.output} failed: {storage.sentence(fault)}")
            self._log.error("shard not written", shard=name, error=storage.sentence(fault))
        self._ledger.finish(name)
        return pa.Table.from_pylist([self._tally.report()])

    def _settle(self, unit: list[Input], name: str, attempt: Attempt) -> None:
        if attempt.exhausted:
            self._tally.count(run_fault=f"{attempt.number - 1} workers died on one unit of inputs, {_span(unit)}")
            self._log.error(
                "unit given up", shard=name, first=unit[0].key, last=unit[-1].key, deaths=attempt.number - 1
            )
        elif attempt.careful:
            self._committer.write(self._one_by_one(unit, name, attempt), name, attempt)
        else:
            fetched = ahead(self._fetch_ahead, map(Sample, unit, count()), self._fetchers, FETCH_AHEAD)
            generated = self._generate(self._codec(self._decode, fetched))
            self._committer.write(self._codec(self._encode, generated), name, attempt)

    def _codec(self, stage: Callable[[Sample], Sample], samples: Iterable[Sample]) -> Iterator[Sample]:
        """Decoding or encoding: in threads ahead of who consumes it, or right here."""
        return ahead(stage, samples, self._codecs, 2 * self._work.threads) if self._codecs else map(stage, samples)

    def _one_by_one(self, unit: list[Input], name: str, attempt: Attempt) -> Iterator[Sample]:
        """The stages again, without anything ahead, so that a death has one image to blame."""
        for place, item in enumerate(unit):
            if item.key in attempt.condemned:
                yield Sample(item, place, fault=_CRASH)
                continue
            self._ledger.start(name, item.key)
            yield from map(self._encode, self._generate([self._decode(self._fetch(Sample(item, place)))]))

    def _fetch_ahead(self, sample: Sample) -> Sample:
        return sample if sample.item.size > AHEAD_BYTES else self._fetch(sample)

    def _fetch(self, sample: Sample) -> Sample:
        try:
            with self._tally.timed("fetch"):
                sample.data = read(sample.item, self._work.max_input_bytes)
            self._tally.count(bytes_read=len(sample.data))
        except InputError as fault:
            sample.fault = fault
        except Exception as fault:  # whatever it is, it is no reason to end the run
            sample.untried = storage_sentence_of(fault, sample.item)
        return sample

    def _decode(self, sample: Sample) -> Sample:
        if sample.data is None and sample.fault is None and not sample.untried:
            sample = self._fetch(sample)
        data, sample.data = sample.data, None
        if data is not None:
            try:
                with self._tally.timed("decode"):
                    sample.picture = self._work.encoder.fitted(self._coloured(decode(data, self._work.max_pixels)))
                sample.source_size = (sample.picture.width, sample.picture.height)
            except InputError as fault:
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
        """Pictures of one shape go through together, without waiting for ever on rare shapes.

        What overtakes a waiting picture is held, encoded, until its turn to be written comes: that too has its bound.
        """
        size, passed_pixels = self._work.batch_size, 0
        groups: dict[tuple[int, ...], list[Sample]] = {}
        bounds: dict[tuple[int, ...], int] = {}
        for sample in samples:
            picture = sample.picture
            passed_pixels += _pixels(picture)
            if picture is None or _pixels(picture) > ALONE_PIXELS:
                yield [sample]
            else:
                shape = picture.pixels.shape
                if shape not in groups:
                    most = max(OVERTAKEN_PIXELS, OPEN_GROUPS_BATCHES * size * _pixels(picture))
                    groups[shape], bounds[shape] = [], passed_pixels + most
                groups[shape].append(sample)
                if len(groups[shape]) == size:
                    yield groups.pop(shape)
                elif sum(map(len, groups.values())) >= OPEN_GROUPS_BATCHES * size:
                    yield groups.pop(next(iter(groups)))
            while groups and passed_pixels > bounds[oldest := next(iter(groups))]:
                yield groups.pop(oldest)
        yield from groups.values()

    def _generated(self, group: list[Sample]) -> list[Sample]:
        pictures = [(sample.item, sample.picture) for sample in group if sample.picture is not None]
        if not pictures:
            return group  # a fault, on its way to its row
        try:
            with self._tally.timed("generate"):
                results = self._results(pictures)
        except Exception as fault:  # of storage: what lies beside the pictures, as seals do, can't be read now
            if not storage.is_storage_fault(fault):
                raise
            for sample in group:
                sample.picture, sample.untried = None, storage.sentence(fault)
            return group
        for sample, result in zip(group, results, strict=True):
            sample.picture = result if isinstance(result, Picture) else None
            sample.fault = result if isinstance(result, InputError) else None
        return group

    def _results(self, pictures: list[tuple[Input, Picture]]) -> list[Picture | InputError]:
        """What the generator gives; where it fails, the pictures are tried alone, so that one spoils no other."""
        try:
            return self._mapper([picture for _, picture in pictures], [item for item, _ in pictures])
        except (torch.AcceleratorError, ScratchError):
            raise  # the machine's fault: it would fail every picture after this one too
        except Exception as fault:  # out of memory, above all: a picture's fault, not the run's
            if storage.is_storage_fault(fault):
                raise
            if len(pictures) > 1:
                return [self._results([picture])[0] for picture in pictures]
            return [InputError("generator", str(fault).partition("\n")[0] or type(fault).__name__)]

    def _encode(self, sample: Sample) -> Sample:
        if sample.picture is not None:
            with self._tally.timed("encode"):
                try:
                    # A restored original may be deeper than what was published in its place.
                    sample.picture = self._work.encoder.fitted(sample.picture)
                    sample.data = self._work.encoder.encode(sample.picture)
                except InputError as fault:
                    sample.fault = fault
        return sample


def _pixels(picture: Picture | None) -> int:
    return picture.width * picture.height if picture else 0


def _streams(device: str) -> ThreadPoolExecutor | None:
    return None if device == "cpu" else ThreadPoolExecutor(STREAMS, "generate", _own_stream)


def _own_stream() -> None:
    torch.cuda.synchronize()  # the weights have arrived, on the default stream
    torch.cuda.set_stream(torch.cuda.Stream())


def _span(unit: list[Input]) -> str:
    return f"from {unit[0].key} to {unit[-1].key}"
