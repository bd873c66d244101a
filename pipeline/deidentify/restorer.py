"""The way back: published pictures in, pictures with their sealed originals in place out."""

import dataclasses
import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import storage
from pipeline.bulk.makers import Maker
from pipeline.deidentify.seal import SealError, Secret, opened, read_lock
from pipeline.images.faults import Fault
from pipeline.images.inputs import Input
from pipeline.images.pictures import Picture
from pipeline.output.seals import read_seals

if TYPE_CHECKING:
    from pipeline.bulk.worker import Work

TABLES_HELD = 4
"""Shards whose seals a worker keeps at hand."""


def restoring(output: str, passcode: Secret) -> Maker:
    """The maker that restores a de-identified output.

    Raises:
        SealError: nothing is sealed there, or the passcode doesn't fit.
        StorageError: it can't be read.
    """
    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"reading {output}"):
        lock = read_lock(fs, path)
    if lock is None:
        raise SealError(f"nothing is sealed in {output}; only `recast deidentify --seal` leaves a way back")
    key = lock.key(passcode)
    digest = "sha256:" + hashlib.sha256(key.reveal() + b"restored").hexdigest()[:16]
    return Maker("sealed originals", digest, output, lambda: RestorerKit(output, key))


@dataclass(frozen=True)
class RestorerKit:
    """Where the seals lie, and what opens them."""

    output: str
    key: Secret

    def mapper(self, work: "Work") -> "Restorer":
        return Restorer(self.output, self.key)


class Restorer:
    """Puts originals back where they were."""

    def __init__(self, output: str, key: Secret) -> None:
        self._fs, self._output = storage.filesystem(output)
        self._key = key
        self._tables: OrderedDict[str, dict[str, list[dict[str, Any]]]] = OrderedDict()

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Picture | Fault]:
        """Pictures as published -> as they were; one whose seal doesn't open is a Fault."""
        return [self._restored(picture, item) for picture, item in zip(pictures, items, strict=True)]

    def _restored(self, picture: Picture, item: Input) -> Picture | Fault:
        seals = self._seals(item)
        pixels = picture.pixels.copy()
        try:
            for seal in seals:
                left, top, right, bottom = box = tuple(seal["box"])
                published = item.fingerprint.removeprefix("sha256:")
                original = opened(self._key, item.key, published, box, seal["sealed"])
                pixels = _as_deep(pixels, original)
                pixels[top:bottom, left:right] = original
        except SealError as fault:
            return Fault("seal", str(fault))
        note = f"{len(seals)} sealed originals restored" if seals else ""
        return dataclasses.replace(picture.with_pixels(pixels, picture.alpha, note), regions=())

    def _seals(self, item: Input) -> list[dict[str, Any]]:
        """Those of one image, from the table beside its shard."""
        stem = PurePosixPath(item.holder.decode("utf-8", "surrogateescape")).name.rpartition(".")[0]
        if stem not in self._tables:
            by_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for seal in read_seals(self._fs, self._output, stem):
                by_key[seal["key"]].append(seal)
            self._tables[stem] = dict(by_key)
            if len(self._tables) > TABLES_HELD:
                self._tables.popitem(last=False)
        return self._tables[stem].get(item.key, [])


def _as_deep(pixels: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Pixels with the original's channels and depth: a lossy format may have published fewer bits or channels."""
    if pixels.dtype != original.dtype:
        pixels = pixels.astype(np.uint16) * 257 if original.dtype == np.uint16 else (pixels >> 8).astype(np.uint8)
    if pixels.shape[2] == original.shape[2]:
        return pixels
    return np.repeat(pixels, 3, axis=2) if original.shape[2] == 3 else pixels[..., :1].copy()
