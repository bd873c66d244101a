"""The stages that a sample goes through in a worker, in this order: fetch, decode, operate, encode.

Each takes samples and gives the same samples, further on their way; what goes wrong with one is a part of it, and stops
no other. A fault of the image is its row; a fault of storage, or a mistake of our own, leaves the input untried.
"""

import contextlib
import dataclasses
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Protocol

import torch

from recast.pipeline import storage
from recast.pipeline.ahead import ahead
from recast.pipeline.bulk.accompanied import accompanied
from recast.pipeline.bulk.operation import Operator, Result
from recast.pipeline.bulk.sample import Sample
from recast.pipeline.bulk.tally import Tally
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.images.pictures import Picture
from recast.pipeline.images.profiles import checked, exchanged
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.file_names import name_problem, path_of
from recast.pipeline.output.index import FILES
from recast.pipeline.output.shards import ScratchError
from recast.pipeline.reasons import words
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.further_inputs import fetched
from recast.pipeline.sources.hidden import is_hidden, storage_sentence_of
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


class Stage(Protocol):
    """One step of every sample's way."""

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]: ...


def stages(
    settings: WorkerSettings, operator: Operator, tally: Tally, taken_up: Callable[[Input], None] | None = None
) -> list[Stage]:
    """What a worker puts its samples through, from the first stage to the last.

    Args:
        taken_up: is told of each input before its bytes are decoded.
    """
    on_cpu = settings.tensor_threads if operator.any_threads else 1
    torch.set_num_threads(on_cpu if settings.device == "cpu" else max((os.cpu_count() or 2) // 2, 1))
    codecs = ThreadPoolExecutor(2 * settings.threads, "codec") if settings.threads else None
    fetch = Fetch(settings, tally)
    return [
        fetch,
        Decode(settings, tally, fetch, operator, codecs, taken_up),
        Operate(settings, tally, operator),
        Encode(settings, tally, codecs),
    ]


class Fetch:
    """The input's bytes from storage, a few inputs ahead of who consumes them."""

    def __init__(self, settings: WorkerSettings, tally: Tally) -> None:
        self._max_bytes, self._tally = settings.job.max_input_bytes, tally
        self._threads = ThreadPoolExecutor(FETCH_AHEAD, "fetch")

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        return ahead(self._unless_large, samples, self._threads, FETCH_AHEAD)

    def _unless_large(self, sample: Sample) -> Sample:
        return sample if sample.item.size > AHEAD_BYTES else self.one(sample)

    def one(self, sample: Sample) -> Sample:
        """The sample with its bytes, or with why it has none."""
        with _told_by(sample), self._tally.timed("fetch"):
            sample.data = read(sample.item, self._max_bytes)
            sample.further = fetched(sample.item.further, self._max_bytes)
            self._tally.count(bytes_read=len(sample.data) + sum(len(each.data) for each in sample.further))
        return sample


class Decode:
    """Bytes to a picture."""

    def __init__(
        self,
        settings: WorkerSettings,
        tally: Tally,
        fetch: Fetch,
        operator: Operator,
        codecs: ThreadPoolExecutor | None,
        taken_up: Callable[[Input], None] | None = None,
    ) -> None:
        self._settings, self._tally, self._fetch, self._codecs = settings, tally, fetch, codecs
        self._operator, self._taken_up = operator, taken_up

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        return _in_codecs(self._one, samples, self._codecs, self._settings)

    def _one(self, sample: Sample) -> Sample:
        if self._taken_up:
            self._taken_up(sample.item)
        if sample.data is None and sample.fault is None and not sample.untried:
            sample = self._fetch.one(sample)
        data, sample.data = sample.data, None
        further, sample.further = sample.further, ()
        if data is not None and sample.fault is None and not sample.untried:
            with _told_by(sample), self._tally.timed("decode"):
                max_pixels = self._settings.job.max_pixels
                picture = self._settings.job.encoder.fitted(self._coloured(self._operator.decode(data, max_pixels)))
                sample.picture = accompanied(picture, further, max_pixels) if further else picture
                sample.source_size = (picture.width or None, picture.height or None)
        return sample

    def _coloured(self, picture: Picture) -> Picture:
        """The picture with a sound profile; where it is to tell nothing of its origin, with none of its own."""
        if self._settings.fails_closed:
            return exchanged(picture, tagged=self._settings.job.encoder.metadata != "strip")
        return checked(picture)


class Operate:
    """Pictures to results, those of one shape together; beside an accelerator, in threads with streams of their own."""

    def __init__(self, settings: WorkerSettings, tally: Tally, operator: Operator) -> None:
        self._batch_size, self._tally, self._operator = settings.batch_size, tally, operator
        self._streams = _streams(settings.device)

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        groups = self._groups(samples)
        if self._streams is None:
            return chain.from_iterable(map(self._group, groups))
        return chain.from_iterable(ahead(self._group, groups, self._streams, STREAMS + 1))

    def _groups(self, samples: Iterable[Sample]) -> Iterator[list[Sample]]:
        """Pictures of one shape go through together, without waiting for ever on rare shapes.

        What overtakes a waiting picture is held, encoded, until its turn to be written comes: that too has its bound.
        """
        size, passed_pixels = self._batch_size, 0
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

    def _group(self, group: list[Sample]) -> list[Sample]:
        """Where something goes wrong with several, they are tried alone, so that one spoils no other."""
        several = [sample for sample in group if sample.picture is not None]
        if len(several) > 1:
            try:
                self._operate(several)
            except (torch.AcceleratorError, ScratchError):
                raise  # the machine's fault: it would fail every picture after this one too
            except Exception:
                several = [sample for one in several for sample in self._group([one])]
        elif several:
            with _told_by(several[0], out_of_memory="generator"):
                self._operate(several)
        for sample in several:
            sample.picture = None
        return group

    def _operate(self, samples: list[Sample]) -> None:
        pictures = [sample.picture for sample in samples if sample.picture is not None]
        with self._tally.timed("generate"):
            results = self._operator(pictures, [sample.item for sample in samples])
        for sample, result in zip(samples, results, strict=True):
            sample.result = result if isinstance(result, Result) else None
            sample.fault = result if isinstance(result, InputError) else None


class Encode:
    """A result's picture to the bytes of the output's format."""

    def __init__(self, settings: WorkerSettings, tally: Tally, codecs: ThreadPoolExecutor | None) -> None:
        self._settings, self._tally, self._codecs = settings, tally, codecs
        self._folder = storage.join(storage.filesystem(settings.job.output)[1], FILES)

    def __call__(self, samples: Iterable[Sample]) -> Iterator[Sample]:
        return _in_codecs(self._one, samples, self._codecs, self._settings)

    def _one(self, sample: Sample) -> Sample:
        encoder, result = self._settings.job.encoder, sample.result
        if result is not None and result.picture is not None:
            with _told_by(sample), self._tally.timed("encode"):
                if self._settings.job.shards == "files":
                    self._check_name(sample.item.key)
                # A restored original may be deeper than what was published in its place.
                picture = encoder.fitted(result.picture)
                sample.data = encoder.encode(picture)
                sample.result = dataclasses.replace(result, picture=picture)
        return sample

    def _check_name(self, key: str) -> None:
        """Raise InputError if the result can't be a file of its own."""
        path = path_of(key, self._settings.job.encoder.format)
        kind, _, sentence = name_problem(path, self._folder).partition(": ")
        if kind:
            raise InputError(kind, sentence)


@contextlib.contextmanager
def _told_by(sample: Sample, out_of_memory: str = "too-large") -> Iterator[None]:
    """What the block raises is the sample's: its fault, with `out_of_memory` as the kind of that one; or, where storage
    or we ourselves are to blame, why it stays untried."""
    try:
        yield
    except InputError as fault:
        sample.fault = fault
    except (torch.AcceleratorError, ScratchError):
        raise
    except Exception as fault:
        if _is_out_of_memory(fault):
            sample.fault = InputError(out_of_memory, words(fault))
        elif isinstance(fault, storage.StorageError) or storage.is_storage_fault(fault):
            sample.untried = storage_sentence_of(fault, sample.item)
        else:
            kind = type(fault).__name__
            sample.untried = kind if is_hidden(sample.item) else f"{kind}: {words(fault)}"
            sample.mistake = "".join(traceback.format_tb(fault.__traceback__)) + sample.untried


def _is_out_of_memory(fault: BaseException) -> bool:
    """Whether there was too little memory. Of its own, torch raises RuntimeError for that, with words of its own."""
    return isinstance(fault, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(fault)


def _in_codecs(
    work: Callable[[Sample], Sample], samples: Iterable[Sample], codecs: ThreadPoolExecutor | None,
    settings: WorkerSettings,
) -> Iterator[Sample]:  # fmt: skip
    """Decoding or encoding: in threads ahead of who consumes it, or right here."""
    return ahead(work, samples, codecs, 2 * settings.threads) if codecs else map(work, samples)


def _pixels(picture: Picture | None) -> int:
    return picture.width * picture.height if picture else 0


def _streams(device: str) -> ThreadPoolExecutor | None:
    return None if device == "cpu" else ThreadPoolExecutor(STREAMS, "generate", _own_stream)


def _own_stream() -> None:
    torch.cuda.synchronize()  # the weights have arrived, on the default stream
    torch.cuda.set_stream(torch.cuda.Stream())
