"""Regions that a user brings: what other detectors found, licence plates, persons; a table keyed by image."""

import hashlib
import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from recast.pipeline import storage
from recast.pipeline.input_errors import HeldError
from recast.pipeline.regions.box_tables import read_table
from recast.pipeline.regions.coco import Size
from recast.pipeline.regions.masks import MaskError
from recast.pipeline.regions.region import Region, fitted
from recast.pipeline.regions.region_rows import EmptyBoxError, region_of, size_of
from recast.pipeline.sources.inputs import Input

LEAST_SIDE_PX = 4
"""A box with a shorter side, or with less of it in the image, hides nothing that anyone meant."""
LEAST_INSIDE = 0.5
"""Share of a box that must lie in the image; a box with less was meant for other pixels."""
MASK_OUTSIDE_PX = 1
"""How far a mask may reach out of its box: boxes are rounded. A mask that is unpacked with a wrong height is torn."""
LARGEST_BYTES = 1 << 30
"""A larger table is refused; read as a whole it would take many times as much memory."""

UNREADABLE = (
    pa.ArrowException, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip
"""What is raised where a table's values are of other types or sizes than they should be."""


class BoxesError(Exception):
    """A table of boxes that can't be used, in a sentence."""

    exit_status = 2


class RegionTable:
    """Regions by image key, from Parquet, CSV or JSON.

    Columns: `key`; `left`, `top`, `right`, `bottom` in pixels of the upright image, or one `box` of the four; perhaps
    `mask` (COCO's compressed run-length encoding), `image_height` and `image_width` (what the image must measure; with
    them a mask needs no box), `kind` (default `region`), `score` (default 1), `points` (x, y and visibility or score of
    each), `track`, `category` (a number), `landmarks` (x and y of five points) and `identity`. A row without
    coordinates says that an image was looked at. JSON: a list of such objects, an object of lists by key, or COCO (see
    `coco`).

    Raises:
        BoxesError, StorageError: it can't be read, or a row makes no sense.
    """

    def __init__(self, url: str, *, without_empty: bool = False) -> None:
        """`without_empty`: leave boxes without any area out and count them, as a training does; else they are refused,
        for nobody knows what they should hide."""
        fs, path = storage.filesystem(url)
        with storage.faults_as_sentences(f"reading the boxes {url}"):
            try:
                if (size := fs.size(path) or 0) > LARGEST_BYTES:
                    raise BoxesError(f"the boxes {url} can't be read: it has {size:,} bytes, and 1 GiB is the most")
                data = storage.read_bytes(fs, path)
            except (FileNotFoundError, IsADirectoryError) as fault:
                raise BoxesError(f"the boxes {url} can't be read: there is no such file") from fault
        try:
            table = read_table(data, url)
            self._regions, self._sizes, self.empty = _by_key(table.rows, without_empty=without_empty)
            _refuse_fractions(self._regions.values())
        except UNREADABLE as fault:
            reason = str(fault).partition("\n")[0]
            raise BoxesError(f"the boxes {url} can't be used: {reason}") from fault
        masked = any(region.mask is not None for regions in self._regions.values() for region in regions)
        self.name = f"{'regions' if masked or self._sizes else 'boxes'} {hashlib.sha256(data).hexdigest()[:12]}"
        """Stands for the file, and for how it is read: `boxes` are replaced as they were before there were masks."""
        self.categories = table.categories
        """What COCO's JSON says of its categories; nothing from other files."""
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

    def every(self) -> Iterator[tuple[str, Region]]:
        """All regions, each with the table's key of its image."""
        return ((key, region) for key, regions in self._regions.items() for region in regions)

    def size_of(self, key: str) -> Size | None:
        """Height and width of the image that a key's regions were drawn for, where the table says them."""
        return next((self._sizes[known] for known in self._keys(key) if known in self._sizes), None)

    def fitted(self, key: str, height: int, width: int) -> list[Region]:
        """The regions of an image of this size, their boxes holding all of their masks.

        Raises:
            HeldError: they were drawn for other pixels than the image's.
        """
        for known in self._keys(key):
            size = self._sizes.get(known, (height, width))
            if size != (height, width):
                raise HeldError(
                    "other-size", f"its regions were drawn for {_named(size)}, and it has {_named((height, width))}"
                )
        return [placed(region, height, width) for region in self.of(key)]

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


def placed(region: Region, height: int, width: int) -> Region:
    """A user's region in an image of this size, its box holding all of its mask.

    Raises:
        HeldError: the box or the mask can't be meant for the image.
    """
    left, top, right, bottom = region.box
    across, down = min(right, width) - max(left, 0), min(bottom, height) - max(top, 0)
    box = ", ".join(f"{side:g}" for side in region.box)
    if across <= 0 or down <= 0:
        raise HeldError("box-outside", f"the box {box} lies outside of {width} x {height} px")
    if across * down < LEAST_INSIDE * region.width * region.height:
        raise HeldError("box-outside", f"most of the box {box} lies outside of {width} x {height} px")
    if min(across, down) < min(LEAST_SIDE_PX, width, height):
        raise HeldError("box-sliver", f"the box {box} is less than {LEAST_SIDE_PX} px wide or high in the image")
    try:
        whole = fitted(region, height, width)
    except MaskError as fault:
        raise HeldError("other-size", str(fault)) from fault
    if max(abs(side - known) for side, known in zip(whole.box, region.box, strict=True)) > MASK_OUTSIDE_PX:
        raise HeldError("other-size", f"its mask reaches out of the box {box}, as one for an image of other sides")
    return whole


def _plain(key: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(key.replace("\\", "/")))


def _by_key(
    rows: list[dict[str, Any]], *, without_empty: bool
) -> tuple[dict[str, list[Region]], dict[str, Size], list[str]]:
    """The regions of each key, the sizes of the images that they were drawn for, where the rows say them, and where
    boxes without any area were left out."""
    regions: dict[str, list[Region]] = defaultdict(list)
    sizes: dict[str, Size] = {}
    empty: list[str] = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or row.get("key") is None:
            raise ValueError(f"row {number} has no key")
        key = str(row["key"])
        where, of_key = row.get("where") or f"row {number}, {key}", regions[key]
        size = size_of(row, where)
        if size is not None and sizes.setdefault(key, size) != size:
            raise ValueError(f"{where}: its image is {_named(size)} here and {_named(sizes[key])} in another row")
        try:
            region = region_of(row, size, where)
        except EmptyBoxError as fault:
            if not without_empty:
                raise
            empty.append(str(fault))
            continue
        if region is not None:
            of_key.append(region)
    return dict(regions), sizes, empty


def _named(size: Size) -> str:
    return f"{size[1]} x {size[0]} px"


def _refuse_fractions(found: Iterable[Sequence[Region]]) -> None:
    boxes = [region.box for regions in found for region in regions if region.mask is None]
    if boxes and all(max(box) <= 1 for box in boxes):
        raise ValueError(
            "no coordinate is larger than 1: these are fractions of the image, and pixels of the upright image are "
            "wanted"
        )
