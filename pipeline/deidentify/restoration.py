"""The two ways back: published pictures in, their sealed originals out, or the faces that new ones were made of."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recast.models.digests import short_digest
from recast.pipeline import bundles, storage
from recast.pipeline.bulk.operation import Operation, Operator, Result
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.bundles import Packed
from recast.pipeline.deidentify.replacement.painter import FacePainter
from recast.pipeline.deidentify.secrets.codes import codes_key
from recast.pipeline.deidentify.secrets.names import revealing
from recast.pipeline.deidentify.secrets.seal import Lock, SealError, Secret, opened, read_lock
from recast.pipeline.deidentify.traces import sealed_by
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.index import fragments
from recast.pipeline.output.sidecars import SEALS, read_sidecars
from recast.pipeline.regions.masks import MaskError, checked
from recast.pipeline.regions.region import Region
from recast.pipeline.sources.inputs import Input

Box = tuple[int, int, int, int]
TABLES_HELD = 4
"""Shards whose rows a worker keeps at hand."""


def restoring(output: str, passcode: Secret, model: str = "") -> Operation:
    """The operation that restores a de-identified output: by its seals, or, with a model, from the images themselves.

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
    return Operation(
        "sealed originals",
        short_digest(key.reveal() + b"restored"),
        output,
        lambda: SealsPayload(output, key),
        renames=revealing(output, key),
    )


def _by_model(output: str, codes: Secret, lock: Lock | None, passcode: Secret, model: str) -> Operation:
    """Names come back, too, if the passcode opens the lock; if it doesn't, what comes back are others' faces."""
    packed = bundles.fetch(model)
    FacePainter(packed, codes, back=True)
    described = bundles.describe(model)
    try:
        names = revealing(output, lock.key(passcode)) if lock else None
    except SealError:
        names = None
    digest = short_digest(codes.reveal() + described.digest.encode())
    return Operation(
        f"{described.name} back", digest, model, lambda: TransformerPayload(output, packed, codes), renames=names
    )


@dataclass(frozen=True)
class SealsPayload:
    """Where the seals lie, and what opens them."""

    output: str
    key: Secret

    def operator(self, settings: WorkerSettings) -> "Unsealer":
        return Unsealer(self.output, self.key)


@dataclass(frozen=True)
class TransformerPayload:
    """The transformer, the output whose index says where the faces are, and what their codes come from."""

    output: str
    packed: Packed
    codes: Secret

    def operator(self, settings: WorkerSettings) -> "Repainter":
        return Repainter(self.output, FacePainter(self.packed, self.codes, device=settings.device, back=True))


class Unsealer(Operator):
    """Puts originals back, every one: the index says what was replaced, and the seals how many there are."""

    def __init__(self, output: str, key: Secret) -> None:
        self._fs, self._output = storage.filesystem(output)
        self._key = key
        self._seals = BesideShards(lambda stem: read_sidecars(self._fs, self._output, SEALS, stem))
        self._rows = BesideShards(lambda stem: _index_rows(self._fs, self._output, stem))

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        """Pictures as published -> as they were; one whose seal doesn't open is an InputError."""
        return [self._restored(picture, item) for picture, item in zip(pictures, items, strict=True)]

    def _restored(self, picture: Picture, item: Input) -> Result | InputError:
        pixels, alpha = picture.pixels.copy(), picture.alpha
        try:
            found = self._opened(item)
        except (SealError, storage.StorageError) as fault:
            return InputError("seal", str(fault))
        for (left, top, right, bottom), original in found:
            if original.shape[2] in (2, 4):
                alpha = np.full(pixels.shape[:2], 255, np.uint8) if alpha is None else alpha.copy()
                alpha[top:bottom, left:right] = original[..., -1]
                original = original[..., :-1]
            pixels = _as_deep(pixels, original)
            pixels[top:bottom, left:right] = original
        note = f"{len(found)} sealed originals restored" if found else ""
        return Result(picture=picture.with_pixels(pixels, alpha, note))

    def _opened(self, item: Input) -> list[tuple[Box, np.ndarray]]:
        """The sealed originals of an image, with their places, in the order they were sealed in.

        Seals that don't open are left aside if those that do are all there are: an earlier version of the image may
        have left its own.

        Raises:
            SealError: one is missing, or was changed.
        """
        key, published = item.alias or item.key, item.fingerprint.removeprefix("sha256:")
        rows = [row for row in self._rows.of(item) if row["sha256"] == published]
        found: dict[int, tuple[Box, np.ndarray]] = {}
        of, changed = 0, None
        for place, seal in enumerate(seal for seal in self._seals.of(item) if seal["box"]):
            box = (seal["box"][0], seal["box"][1], seal["box"][2], seal["box"][3])
            try:
                held = opened(self._key, key, published, box, seal["sealed"])
            except SealError as fault:
                changed = fault
                continue
            found[place if held.number < 0 else held.number] = box, held.pixels
            of = max(of, held.of)
        if changed and (not of or len(found) < of):
            raise changed
        if len(found) < of:
            raise SealError(f"{of - len(found)} of its {of} sealed originals are missing from {SEALS}/")
        if not rows:
            raise SealError("the index has no row of the image as published, which says what was sealed of it")
        if not of and any(_replaced(row) and not _all_covered(row, [box for box, _ in found.values()]) for row in rows):
            raise SealError(f"its index row tells of replaced regions whose originals are missing from {SEALS}/")
        if not item.alias and any("names" in row["sealed"] for row in rows):
            raise SealError(f"its name was hidden, and what held it is missing from {SEALS}/")
        return [found[number] for number in sorted(found)]


class Repainter(Operator):
    """Brings faces back that a transformer painted, from the published pixels and the passcode's codes."""

    def __init__(self, output: str, painter: FacePainter) -> None:
        self._fs, self._output = storage.filesystem(output)
        self._painter = painter
        self._rows = BesideShards(lambda stem: _index_rows(self._fs, self._output, stem))

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        """Pictures as published -> with faces as they were, or with others if the passcode is wrong."""
        known = [self._faces(item, picture) for picture, item in zip(pictures, items, strict=True)]
        faces = [found if isinstance(found, list) else [] for found in known]
        made = self._painter([picture.pixels for picture in pictures], faces, items)
        return [
            self._result(picture, pixels, found)
            for picture, (pixels, _), found in zip(pictures, made, known, strict=True)
        ]

    def _result(self, picture: Picture, pixels: np.ndarray, found: list[Region] | InputError) -> Result | InputError:
        if isinstance(found, InputError):
            return found
        return Result(
            picture=picture.with_pixels(pixels, picture.alpha, f"{len(found)} faces restored" if found else "")
        )

    def _faces(self, item: Input, picture: Picture) -> list[Region] | InputError:
        """The faces of an image, in the order that they were painted in; or why the index can't be right about them."""
        faces = [
            Region(
                kind=face["kind"], box=tuple(face["box"]), score=face["score"], detector="index", mask=face.get("mask")
            )
            for row in self._rows.of(item)
            for face in row["regions"] or ()
            if face["action"] == self._painter.action
        ]  # fmt: skip
        try:
            for face in faces:
                if face.mask is not None:
                    checked(face.mask, picture.height, picture.width)
        except MaskError as fault:
            return InputError("seal", f"the index tells of a face that can't be where it says, for {fault}")
        return faces


class BesideShards:
    """Rows that lie in a table beside each shard, by key; those of a few shards are kept at hand."""

    def __init__(self, read: Callable[[str], list[dict[str, Any]]]) -> None:
        self._read = read
        self._tables: OrderedDict[str, dict[str, list[dict[str, Any]]]] = OrderedDict()

    def of(self, item: Input) -> list[dict[str, Any]]:
        stem = item.stem
        if stem not in self._tables:
            by_key: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for row in self._read(stem):
                by_key[row["key"]].append(row)
            self._tables[stem] = dict(by_key)
            if len(self._tables) > TABLES_HELD:
                self._tables.popitem(last=False)
        return self._tables[stem].get(item.alias or item.key, [])


def _index_rows(fs: storage.FileSystem, output: str, stem: str) -> list[dict[str, Any]]:
    """What the index says of a shard's images, and `sealed`: what it says was sealed of them."""
    (fragment,) = fragments(
        fs, output, ["key", "regions", "sha256", "source_width", "source_height"], [f"{stem}.parquet"]
    )
    if fragment.rows is None:
        raise storage.StorageError(f"{fragment.name}: {fragment.damage}")
    sealed = sealed_by(fragment.about)
    return [{**row, "sealed": sealed} for row in fragment.rows.to_pylist()]


def _replaced(row: dict[str, Any]) -> bool:
    """Whether originals of a row's image were to be sealed."""
    return "originals" in row["sealed"] and any(region["action"] for region in row["regions"] or ())


def _all_covered(row: dict[str, Any], boxes: Sequence[Box]) -> bool:
    """Whether each replaced region lies in one of the boxes, but for a pixel: what the index keeps is rounded.

    For seals that were not counted when they were written.
    """
    regions = [region["box"] for region in row["regions"] or () if region["action"]]
    across, down = row["source_width"], row["source_height"]
    return all(
        any(
            box[0] <= max(region[0], 0) + 1
            and box[1] <= max(region[1], 0) + 1
            and box[2] >= min(region[2], across) - 1
            and box[3] >= min(region[3], down) - 1
            for box in boxes
        )
        for region in regions
    )


def _as_deep(pixels: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Pixels with the original's channels and depth: a lossy format may have published fewer bits or channels."""
    if pixels.dtype != original.dtype:
        pixels = pixels.astype(np.uint16) * 257 if original.dtype == np.uint16 else (pixels >> 8).astype(np.uint8)
    if pixels.shape[2] == original.shape[2]:
        return pixels
    return np.repeat(pixels, 3, axis=2) if original.shape[2] == 3 else pixels[..., :1].copy()
