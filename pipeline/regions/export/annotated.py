"""The images of an output that somebody looked at, with their regions, a few fragments of the index at a time."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline import storage
from recast.pipeline.output.index import STEM, current, fragments
from recast.pipeline.reasons import plural
from recast.pipeline.regions.region import Region
from recast.pipeline.regions.region_rows import region_of
from recast.pipeline.storage import FileSystem

Kind = tuple[str, int | None]
"""What a region is called, and the number of that, where its detector has one."""
SIZE = ("source_height", "source_width")
FRAGMENTS_AT_ONCE, ROWS_AT_ONCE = 4, 64
"""What bounds the memory, however many regions the images have."""


class ExportError(Exception):
    """What can't be exported, in a sentence."""

    exit_status = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """An image and what was found in it, perhaps nothing."""

    number: int
    """From 1, in the order of the keys."""
    key: str
    size: tuple[int, int] | None
    """Height and width in pixels, upright."""
    regions: list[Region]


class AnnotatedImages:
    """The images that an output tells the regions of, of the current rows alone.

    Iterating gives one after the other, in an order near that of the keys; each time anew. Memory grows with the number
    of images by their keys, and with the regions of a few fragments.

    Raises:
        ExportError: no row tells of regions.
        StorageError: the output can't be read, or a fragment of its index is damaged.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._fs, self._path = storage.filesystem(url)
        with storage.faults_as_sentences(f"reading {url}"):
            view = current(self._fs, self._path, ["key", "status", *SIZE, STEM], whole=True)
        self.kinds: set[Kind] = set()
        """All that was found in them, and what else the models look for."""
        self.left_out: Counter[str] = Counter(view["status"].to_pylist())
        """Rows that are not among the images: failed and held ones, and unexamined ones, that nobody looked at."""
        done = view.filter(pc.equal(view["status"], "ok"))
        unseen = pa.array(sorted(self._survey(done)), pa.string())
        images = done.filter(pc.invert(pc.is_in(done["key"], unseen)))
        del self.left_out["ok"]
        self.left_out["unexamined"] = len(unseen)
        if not len(images):
            raise ExportError(f"{url} has no regions to export: no image of it was looked at")
        self.images = images.append_column("number", pa.array(np.arange(1, len(images) + 1)))
        """Their columns `number`, `key`, `source_height` and `source_width`, in order of the keys."""
        self.spoilt = 0
        """How many regions the last iteration left out, since they make no sense, as an empty box does."""
        self._spoilt_first = ""

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[AnnotatedImage]:
        self.spoilt = 0
        for members, rows, _ in self._fragments(self.images):
            about = {row["key"]: row for row in members.to_pylist()}
            for batch in rows.select(["key", "regions"]).to_batches(max_chunksize=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    yield self._image(about[row["key"]], row["regions"])

    def _image(self, about: dict[str, Any], found: list[dict[str, Any]]) -> AnnotatedImage:
        height, width = (about[side] for side in SIZE)
        size = (height, width) if height and width else None
        regions = [region for row in found if (region := self._region(about["key"], row, size))]
        return AnnotatedImage(number=about["number"], key=about["key"], size=size, regions=regions)

    def _region(self, key: str, row: dict[str, Any], size: tuple[int, int] | None) -> Region | None:
        try:
            return region_of(row, size, key)
        except ValueError as fault:
            self._spoilt_first = self._spoilt_first or str(fault)
            self.spoilt += 1
            return None

    def _survey(self, done: pa.Table) -> set[str]:
        """Keys of images that nobody looked at; notes what was found in the others."""
        unseen: set[str] = set()
        for _, rows, settings in self._fragments(done):
            self.kinds |= _categories(settings)
            unseen.update(rows.filter(pc.is_null(rows["regions"]))["key"].to_pylist())
            self.kinds |= _kinds(rows["regions"])
        return unseen

    def _fragments(self, images: pa.Table) -> Iterator[tuple[pa.Table, pa.Table, str]]:
        with storage.faults_as_sentences(f"reading {self.url}"):
            yield from regions_by_fragment(self._fs, self._path, images)

    def said(self) -> str:
        """What was left out, in words; "" for nothing."""
        parts = [plural(count, f"{status} image") for status, count in sorted(self.left_out.items()) if count]
        if self.spoilt:
            parts.append(f"{plural(self.spoilt, 'region')} that no program could read ({self._spoilt_first})")
        return ", ".join(parts)


def regions_by_fragment(fs: FileSystem, output: str, images: pa.Table) -> Iterator[tuple[pa.Table, pa.Table, str]]:
    """Some images of an output, a fragment after the other: their rows of `images`, their columns `key` and `regions`,
    and the settings that they were made with, as JSON.

    Args:
        images: current rows with the columns `key` and `STEM`.

    Raises:
        StorageError: a fragment is damaged.
    """
    members = _by_fragment(images)
    stems = list(members)
    for first in range(0, len(stems), FRAGMENTS_AT_ONCE):
        names = [f"{stem}.parquet" for stem in stems[first : first + FRAGMENTS_AT_ONCE]]
        found = {each.name: each for each in fragments(fs, output, ["key", "regions"], names)}
        for name in names:
            fragment = found.pop(name)
            if fragment.rows is None:
                raise storage.StorageError(f"{name} of the index is damaged ({fragment.damage})")
            own = members[name.removesuffix(".parquet")]
            rows = fragment.rows.filter(pc.is_in(fragment.rows["key"], own["key"].combine_chunks()))
            yield own, rows, fragment.about.get("recast.settings") or "{}"


def _by_fragment(images: pa.Table) -> dict[str, pa.Table]:
    """The images of each fragment; the fragment with the first key first."""
    codes = images[STEM].combine_chunks().dictionary_encode()
    order = np.argsort(codes.indices.to_numpy(), kind="stable")
    ends = np.bincount(codes.indices.to_numpy(), minlength=len(codes.dictionary)).cumsum()
    ordered = images.take(pa.array(order))
    starts = [0, *ends[:-1]]
    return {
        stem: ordered.slice(start, end - start)
        for stem, start, end in zip(codes.dictionary.to_pylist(), starts, ends, strict=True)
    }


def _kinds(regions: pa.ChunkedArray) -> set[Kind]:
    """The kinds of some rows' regions."""
    flat = pc.list_flatten(regions)
    known = {field.name for field in flat.type}
    kinds = pc.struct_field(flat, "kind")
    numbers = pc.struct_field(flat, "category") if "category" in known else pa.nulls(len(flat), pa.int32())
    pairs = pa.table({"kind": kinds, "category": numbers}).group_by(["kind", "category"]).aggregate([])
    return {(row["kind"] or "region", row["category"]) for row in pairs.to_pylist()}


def _categories(settings: str) -> set[Kind]:
    """What the models of an annotation look for, by its settings; nothing where they do not say it in numbers."""
    try:
        return {(str(name), int(number)) for number, name in json.loads(settings).get("categories") or ()}
    except (ValueError, TypeError, AttributeError):
        return set()
