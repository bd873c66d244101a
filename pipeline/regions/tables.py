"""Boxes that a user brings: other detectors' finds, licence plates, persons; a table keyed by image."""

import hashlib
import math
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from recast.models.faces import LANDMARKS
from recast.pipeline import storage
from recast.pipeline.input_errors import HeldError
from recast.pipeline.regions.box_tables import CORNERS, rows_of
from recast.pipeline.regions.region import BROUGHT, Region
from recast.pipeline.sources.inputs import Input

LEAST_SIDE_PX = 4
"""A box with a shorter side, or with less of it in the image, hides nothing that anyone meant."""
LEAST_INSIDE = 0.5
"""Share of a box that must lie in the image; a box with less was meant for other pixels."""


class BoxesError(Exception):
    """A table of boxes that can't be used, in a sentence."""

    exit_status = 2


class RegionTable:
    """Regions by image key, from Parquet, CSV or JSON.

    Columns: `key`; `left`, `top`, `right`, `bottom` in pixels of the upright image, or one `box` of the four; perhaps
    `kind` (default `region`), `score` (default 1), `landmarks` (x and y of five points) and `identity`. A row without
    coordinates says that an image was looked at. JSON: a list of such objects, an object of lists by key, or COCO
    (`images`, `annotations`, `categories`), whose `file_name` is the key.

    Raises:
        BoxesError, StorageError: it can't be read, or a row makes no sense.
    """

    def __init__(self, url: str) -> None:
        fs, path = storage.filesystem(url)
        with storage.faults_as_sentences(f"reading the boxes {url}"):
            try:
                data = storage.read_bytes(fs, path)
            except (FileNotFoundError, IsADirectoryError) as fault:
                raise BoxesError(f"the boxes {url} can't be read: there is no such file") from fault
        self.name = f"boxes {hashlib.sha256(data).hexdigest()[:12]}"
        try:
            self._regions = _by_key(rows_of(data, url))
            _refuse_fractions(self._regions.values())
        except (pa.ArrowException, ValueError, KeyError, TypeError, AttributeError, RecursionError) as fault:
            reason = str(fault).partition("\n")[0]
            raise BoxesError(f"the boxes {url} can't be used: {reason}") from fault
        self._named: dict[str, list[str]] = defaultdict(list)
        for key in self._regions:
            self._named[_plain(key)].append(key)

    def __len__(self) -> int:
        """Images that have any."""
        return sum(map(bool, self._regions.values()))

    @property
    def images(self) -> int:
        """Images that the table has an entry for, be it an empty one."""
        return len(self._regions)

    def __contains__(self, key: str) -> bool:
        """Whether the table has an entry for an image, be it an empty one."""
        return bool(self._keys(key))

    def of(self, key: str) -> list[Region]:
        """The regions of an image."""
        return [region for known in self._keys(key) for region in self._regions[known]]

    def _keys(self, key: str) -> Sequence[str]:
        """The table's keys that mean an image: the same, or else those that differ in `./` and in how accents are
        written alone (macOS decomposes them)."""
        return [key] if key in self._regions else self._named.get(_plain(key), [])


class Compared:
    """A listing on its way past a table: which keys of the table are an input's."""

    def __init__(self, table: RegionTable) -> None:
        self._table, self._unmatched = table, set(table._regions)
        self.complete = False
        """Whether the listing was seen to its end."""

    def __call__(self, items: Iterable[Input]) -> Iterator[Input]:
        for item in items:
            self._unmatched.difference_update(self._table._keys(item.key))
            yield item
        self.complete = True

    @property
    def keys(self) -> int:
        """Keys of the table."""
        return self._table.images

    @property
    def unmatched(self) -> list[str]:
        """Those that are no input's."""
        return sorted(self._unmatched)


def misplaced(region: Region, width: int, height: int) -> HeldError | None:
    """Why an image of this size must not be published, if a user's box can't be meant for it."""
    left, top, right, bottom = region.box
    across, down = min(right, width) - max(left, 0), min(bottom, height) - max(top, 0)
    box = ", ".join(f"{side:g}" for side in region.box)
    if across <= 0 or down <= 0:
        return HeldError("box-outside", f"the box {box} lies outside of {width} x {height} px")
    if across * down < LEAST_INSIDE * region.width * region.height:
        return HeldError("box-outside", f"most of the box {box} lies outside of {width} x {height} px")
    if min(across, down) < min(LEAST_SIDE_PX, width, height):
        return HeldError("box-sliver", f"the box {box} is less than {LEAST_SIDE_PX} px wide or high in the image")
    return None


def _plain(key: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(key.replace("\\", "/")))


def _by_key(rows: list[dict[str, Any]]) -> Mapping[str, list[Region]]:
    regions: dict[str, list[Region]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or row.get("key") is None:
            raise ValueError(f"row {number} has no key")
        where, of_key = f"row {number}, {row['key']}", regions[str(row["key"])]
        box = _box(row, where)
        if box is None:
            continue
        score = 1.0 if row.get("score") is None else float(row["score"])
        landmarks = tuple(map(float, row.get("landmarks") or ()))
        if not all(map(math.isfinite, (score, *landmarks))):
            raise ValueError(f"{where}: a score or a landmark is no finite number")
        if len(landmarks) not in (0, 2 * LANDMARKS):
            raise ValueError(f"{where}: landmarks are {len(landmarks)} numbers, not {2 * LANDMARKS}")
        of_key.append(
            Region(
                kind=str(row.get("kind") or "region"),
                box=box,
                score=score,
                detector=BROUGHT,
                landmarks=landmarks,
                identity=str(row.get("identity") or ""),
            )
        )
    return dict(regions)


def _box(row: dict[str, Any], where: str) -> tuple[float, float, float, float] | None:
    """The row's box; None where it has no coordinates at all."""
    sides = list(row["box"]) if row.get("box") is not None else [row.get(corner) for corner in CORNERS]
    if all(side is None for side in sides):
        return None
    if len(sides) != 4 or any(side is None for side in sides):
        raise ValueError(f"{where}: a box is four numbers, {', '.join(CORNERS)}; it has {sides}")
    left, top, right, bottom = (float(side) for side in sides if side is not None)
    named = f"the box {left:g}, {top:g}, {right:g}, {bottom:g}"
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError(f"{where}: {named} has a side that is no finite number")
    if not (left < right and top < bottom):
        raise ValueError(f"{where}: {named} is empty")
    return left, top, right, bottom


def _refuse_fractions(found: Iterable[Sequence[Region]]) -> None:
    boxes = [region.box for regions in found for region in regions]
    if boxes and all(max(box) <= 1 for box in boxes):
        raise ValueError(
            "no coordinate is larger than 1: these are fractions of the image, and pixels of the upright image are "
            "wanted"
        )
