"""The two ways back: published pictures in, their sealed originals out, or the faces that new ones were made of."""

import dataclasses
import hashlib
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from recast.pipeline import bundles, storage
from recast.pipeline.bulk.makers import Maker
from recast.pipeline.bundles import Packed
from recast.pipeline.deidentify.regions import Region
from recast.pipeline.deidentify.replacement.painter import FacePainter
from recast.pipeline.deidentify.secrets.codes import codes_key
from recast.pipeline.deidentify.secrets.names import revealing
from recast.pipeline.deidentify.secrets.seal import Lock, SealError, Secret, opened, read_lock
from recast.pipeline.images.faults import Fault
from recast.pipeline.images.inputs import Input
from recast.pipeline.images.pictures import Picture
from recast.pipeline.output.index import fragments
from recast.pipeline.output.seals import read_seals

if TYPE_CHECKING:
    from recast.pipeline.bulk.worker import Work

TABLES_HELD = 4
"""Shards whose rows a worker keeps at hand."""


def restoring(output: str, passcode: Secret, model: str = "") -> Maker:
    """The maker that restores a de-identified output: by its seals, or, with a model, from the images themselves.

    Raises:
        SealError: nothing is sealed there, or the passcode doesn't fit the seals.
        BundleError: a bundle that knows no way back.
        StorageError: it can't be read.
    """
    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"reading {output}"):
        lock = read_lock(fs, path)
        if model:
            return _by_model(output, codes_key(fs, path, passcode, fresh=False), lock, passcode, model)
    if lock is None:
        raise SealError(f"nothing is sealed in {output}; only `recast deidentify --seal` leaves a way back")
    key = lock.key(passcode)
    return Maker(
        "sealed originals", _digest(key, "restored"), output, lambda: SealsKit(output, key), revealing(output, key)
    )


def _by_model(output: str, codes: Secret, lock: Lock | None, passcode: Secret, model: str) -> Maker:
    """Names come back, too, if the passcode opens the lock; if it doesn't, what comes back are others' faces."""
    packed = bundles.fetch(model)
    FacePainter(packed, codes, back=True)
    described = bundles.describe(model)
    try:
        names = revealing(output, lock.key(passcode)) if lock else None
    except SealError:
        names = None
    digest = _digest(codes, described.digest)
    return Maker(f"{described.name} back", digest, model, lambda: TransformerKit(output, packed, codes), names)


def _digest(key: Secret, of: str) -> str:
    return "sha256:" + hashlib.sha256(key.reveal() + of.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class SealsKit:
    """Where the seals lie, and what opens them."""

    output: str
    key: Secret
    seal_key: Secret | None = None

    def mapper(self, work: "Work") -> "Unsealer":
        return Unsealer(self.output, self.key)


@dataclass(frozen=True)
class TransformerKit:
    """The transformer, the output whose index says where the faces are, and what their codes come from."""

    output: str
    packed: Packed
    codes: Secret
    seal_key: Secret | None = None

    def mapper(self, work: "Work") -> "Repainter":
        return Repainter(self.output, FacePainter(self.packed, self.codes, device=work.device, back=True))


class Unsealer:
    """Puts originals back where they were."""

    def __init__(self, output: str, key: Secret) -> None:
        self._fs, self._output = storage.filesystem(output)
        self._key = key
        self._seals = BesideShards(lambda stem: read_seals(self._fs, self._output, stem))

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Picture | Fault]:
        """Pictures as published -> as they were; one whose seal doesn't open is a Fault."""
        return [self._restored(picture, item) for picture, item in zip(pictures, items, strict=True)]

    def _restored(self, picture: Picture, item: Input) -> Picture | Fault:
        seals = [seal for seal in self._seals.of(item) if seal["box"]]
        pixels, key = picture.pixels.copy(), item.alias or item.key
        try:
            for seal in seals:
                left, top, right, bottom = box = tuple(seal["box"])
                published = item.fingerprint.removeprefix("sha256:")
                original = opened(self._key, key, published, box, seal["sealed"])
                pixels = _as_deep(pixels, original)
                pixels[top:bottom, left:right] = original
        except SealError as fault:
            return Fault("seal", str(fault))
        note = f"{len(seals)} sealed originals restored" if seals else ""
        return dataclasses.replace(picture.with_pixels(pixels, picture.alpha, note), regions=())


class Repainter:
    """Brings faces back that a transformer painted, from the published pixels and the passcode's codes."""

    def __init__(self, output: str, painter: FacePainter) -> None:
        self._fs, self._output = storage.filesystem(output)
        self._painter = painter
        self._rows = BesideShards(self._read)

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Picture | Fault]:
        """Pictures as published -> with faces as they were, or with others if the passcode is wrong."""
        faces = [self._faces(item) for item in items]
        made = self._painter([picture.pixels for picture in pictures], faces, items)
        return [
            dataclasses.replace(
                picture.with_pixels(pixels, picture.alpha, f"{len(found)} faces restored" if found else ""), regions=()
            )
            for picture, (pixels, _), found in zip(pictures, made, faces, strict=True)
        ]

    def _faces(self, item: Input) -> list[Region]:
        """In the order that they were painted in."""
        return [
            Region(kind=face["kind"], box=tuple(face["box"]), score=face["score"], detector="index")
            for row in self._rows.of(item)
            for face in row["regions"] or ()
            if face["action"] == self._painter.action
        ]

    def _read(self, stem: str) -> list[dict[str, Any]]:
        (fragment,) = fragments(self._fs, self._output, ["key", "regions"], [f"{stem}.parquet"])
        if fragment.rows is None:
            raise storage.StorageError(f"{fragment.name}: {fragment.damage}")
        return fragment.rows.to_pylist()


class BesideShards:
    """Rows that lie in a table beside each shard, by key; those of a few shards are kept at hand."""

    def __init__(self, read: Callable[[str], list[dict[str, Any]]]) -> None:
        self._read = read
        self._tables: OrderedDict[str, dict[str, list[dict[str, Any]]]] = OrderedDict()

    def of(self, item: Input) -> list[dict[str, Any]]:
        stem = PurePosixPath(item.holder.decode("utf-8", "surrogateescape")).name.rpartition(".")[0]
        if stem not in self._tables:
            by_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for row in self._read(stem):
                by_key[row["key"]].append(row)
            self._tables[stem] = dict(by_key)
            if len(self._tables) > TABLES_HELD:
                self._tables.popitem(last=False)
        return self._tables[stem].get(item.alias or item.key, [])


def _as_deep(pixels: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Pixels with the original's channels and depth: a lossy format may have published fewer bits or channels."""
    if pixels.dtype != original.dtype:
        pixels = pixels.astype(np.uint16) * 257 if original.dtype == np.uint16 else (pixels >> 8).astype(np.uint8)
    if pixels.shape[2] == original.shape[2]:
        return pixels
    return np.repeat(pixels, 3, axis=2) if original.shape[2] == 3 else pixels[..., :1].copy()
