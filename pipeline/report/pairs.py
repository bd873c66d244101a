"""A few inputs and their results, chosen evenly over the index, as pictures that a page can hold."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from recast.pipeline import storage
from recast.pipeline.images.decode import decode
from recast.pipeline.input_errors import InputError
from recast.pipeline.output import index
from recast.pipeline.report.embed import Embedded, embed, embed_file, image_of
from recast.pipeline.report.output import Output
from recast.pipeline.report.provenance import is_inside
from recast.pipeline.sources import inventory

PAIRS = 10
WHOLE_PX = 512
"""A result with no longer side than this is shown whole."""
CROP_PX = (512, 384)
"""So much of a larger one is shown, from its middle: two columns of a page, and the height of most screens' half."""
SMOOTH_BYTES = 160_000
MOST_PIXELS = 64_000_000
MOST_BYTES = 256 << 20
"""Larger images than these are not opened for a report."""
COLUMNS = (
    "key",
    "source",
    *index.PLACE,
    "source_width",
    "source_height",
    "notes",
    "epoch",
    "finished_at",
)

SEEN = ("key", "regions", "scores", "epoch", "finished_at")
"""What is read besides where a result is no image; it may be far more."""

T = TypeVar("T")
Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One input and its result. What can't be shown is None, and `note` says why."""

    key: str
    note: str = ""
    remarks: tuple[str, ...] = ()
    """What the index notes of this result: `first of 12 frames`."""
    after: Embedded | None = None
    after_size: tuple[int, int] | None = None
    """Width and height of the whole result, in pixels."""
    before: Embedded | None = None
    before_size: tuple[int, int] | None = None
    smooth: Embedded | None = None
    """The before enlarged to the result's size with bicubic interpolation, where the sizes differ."""
    imageless: bool = False
    """Whether the result is none: what the index says of the input is all."""

    @property
    def cropped(self) -> bool:
        return self.after is not None and self.after_size != (self.after.width, self.after.height)


def choose(count: int, wanted: int = PAIRS) -> list[int]:
    """Row numbers spread evenly over `count` rows."""
    wanted = min(count, wanted)
    return [(2 * i + 1) * count // (2 * wanted) for i in range(wanted)]


def read_pairs(output: Output, keys: Sequence[str], places: Sequence[str]) -> tuple[Pair, ...]:
    """The pictures of some keys, in their order; those of their sources as far as they lie in one of the places."""
    rows = {row["key"]: row for row in _rows(output, keys, COLUMNS)}
    found = [rows[key] for key in keys if key in rows]
    no_images = [row["key"] for row in found if index.place_of(row) is None]
    seen = {row["key"]: _seen(row) for row in _rows(output, no_images, SEEN)}
    read = read_sources([row["source"] for row in found], places)
    made = (seen.get(row["key"]) or _pair(output, row, read.get(row["source"]), befores=bool(places)) for row in found)
    return tuple(replace(pair, remarks=tuple(row.get("notes") or ())) for pair, row in zip(made, found, strict=True))


def _rows(output: Output, keys: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of some keys, those of older turns first."""
    if not keys:
        return []
    wanted = pa.array(keys, pa.string())
    fragments = index.fragments(output.fs, output.root, columns)
    parts = [f.rows.filter(pc.is_in(f.rows["key"], wanted)) for f in fragments if f.rows is not None]
    rows = [row for part in parts for row in part.to_pylist()]
    return sorted(rows, key=lambda row: (row["epoch"], row["finished_at"]))


def read_sources(sources_of_rows: Sequence[str], places: Sequence[str]) -> dict[str, bytes]:
    """What can still be read of some sources that lie in one of the places, those of one archive by listing it once."""
    found: dict[str, bytes] = {}
    uris = [uri for uri in sources_of_rows if is_inside(uri, places)]
    for container in dict.fromkeys(uri.split("::", 1)[-1] for uri in uris):
        of_holder = [uri for uri in uris if uri.split("::", 1)[-1] == container]
        tried(lambda wanted: found.update(inventory.read_sources(wanted, MOST_BYTES)), of_holder)
    return found


def tried(read: Callable[..., T], *arguments: Any) -> T | None:
    """What `read` returns, or None where an image or the storage is at fault: one picture less is no failed report."""
    try:
        return read(*arguments)
    except (InputError, storage.StorageError):
        return None
    except Exception as fault:
        if not storage.is_storage_fault(fault):
            raise
        return None


def _pair(output: Output, row: Mapping[str, Any], source: bytes | None, *, befores: bool) -> Pair:
    data = tried(_result, output, row)
    after = tried(_opened, data)
    if data is None or after is None:
        note = "The result can’t be read: its file is missing, damaged or too large to open here."
        return Pair(key=row["key"], note=note)
    before = tried(_opened, source)
    if before is not None and before.size != (row["source_width"], row["source_height"]):
        return _alone(row["key"], data, after, "The source has changed since, so it isn’t shown.")
    if before is None:
        lost = befores and row["source_width"] is not None  # else there was no image
        return _alone(row["key"], data, after, "The source can’t be read any more." if lost else "")
    return _both(row["key"], data, after, before)


def _seen(row: Mapping[str, Any]) -> Pair:
    """An input whose result is what the index says of it."""
    kinds = Counter(region["kind"] for region in row["regions"] or ())
    said = [f"{kind}: {count:,}" for kind, count in kinds.most_common()]
    said += [f"{score['name']}: {score['value']:.4g}" for score in row["scores"] or ()]
    note = f"The result is no image; {', '.join(said) or 'nothing was found'}."
    return Pair(key=row["key"], note=note, imageless=True)


def _opened(data: bytes | None) -> Image.Image | None:
    return image_of(decode(data, MOST_PIXELS)) if data else None


def _result(output: Output, row: Mapping[str, Any]) -> bytes:
    place = index.place_of(row)
    if place is None or place.length > MOST_BYTES:
        raise FileNotFoundError(row["key"])
    return output.read(place.path, place.offset, place.length)


def _alone(key: str, data: bytes, after: Image.Image, note: str) -> Pair:
    box = _middle(after.size, *_shown(after))
    return Pair(key=key, note=note, after=_cut(after, box, data), after_size=after.size)


def _both(key: str, data: bytes, after: Image.Image, before: Image.Image) -> Pair:
    """The same part of both, cut on whole pixels of the before."""
    across, down = after.width / before.width, after.height / before.height
    width, height = _shown(after)
    small = _middle(before.size, max(1, round(width / across)), max(1, round(height / down)))
    left, top, right, bottom = small
    box = (round(left * across), round(top * down), round(right * across), round(bottom * down))
    cut = before.crop(small)
    smooth = None
    if before.size != after.size:
        enlarged = before.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BICUBIC, small)
        smooth = embed(enlarged, SMOOTH_BYTES)
    return Pair(
        key=key,
        after=_cut(after, box, data),
        after_size=after.size,
        before=embed(cut),
        before_size=before.size,
        smooth=smooth,
    )


def _cut(image: Image.Image, box: Box, data: bytes) -> Embedded:
    return embed_file(data, image) if box == (0, 0, *image.size) else embed(image.crop(box))


def _shown(after: Image.Image) -> tuple[int, int]:
    return after.size if max(after.size) <= WHOLE_PX else CROP_PX


def _middle(size: tuple[int, int], width: int, height: int) -> Box:
    width, height = min(width, size[0]), min(height, size[1])
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height
