"""The files that boxes come in: Parquet, CSV, and JSON of several kinds, COCO's among them."""

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from recast.pipeline.regions.coco import is_coco, rows_of_coco

CORNERS = ("left", "top", "right", "bottom")
SIZE = ("image_height", "image_width")
"""Columns of the size in pixels of the image that a region was drawn for."""


class Table(NamedTuple):
    """What a file of boxes holds."""

    rows: list[dict[str, Any]]
    """Each has a `key`, and a `box`, four corners, or a `mask` and the image's size."""
    categories: Sequence[Mapping[str, Any]] = ()
    """COCO's, each with `id` and `name`, and perhaps `keypoints` and `skeleton`; none from other files."""


def read_table(data: bytes, url: str) -> Table:
    """The rows of a file of boxes, and what it says of them all.

    Raises:
        ArrowException, ValueError, KeyError, TypeError: it is not what its name says, or lacks what it needs.
    """
    if url.endswith(".json"):
        loaded = json.loads(data.decode("utf-8-sig"))
        if not isinstance(loaded, dict):
            return Table(list(loaded))
        if is_coco(loaded):
            return Table(rows_of_coco(loaded), loaded.get("categories") or ())
        return Table([row for key, entries in loaded.items() for row in _entries(key, entries)])
    if url.endswith((".parquet", ".pq")):
        table = pq.ParquetFile(io.BytesIO(data), pre_buffer=False).read(use_threads=False)
    elif url.endswith(".csv"):
        texts = dict.fromkeys(("key", "kind", "mask", "points", "track"), pa.string())
        options = pyarrow.csv.ConvertOptions(column_types=texts)
        table = pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options)
    else:
        raise ValueError("its name ends in none of .parquet, .csv and .json, which say what it is")
    known = set(table.column_names)
    if "key" not in known or not any(needed <= known for needed in ({"box"}, set(CORNERS), {"mask", *SIZE})):
        raise ValueError(
            f"it needs the columns key and box, or key, {', '.join(CORNERS)}, or key, mask, {', '.join(SIZE)}; it has "
            f"{table.column_names}"
        )
    if nameless := pc.sum(pc.is_null(table["key"])).as_py():
        raise ValueError(f"{nameless} of its rows have no key")
    return Table(table.to_pylist())


def _entries(key: str, entries: Any) -> list[dict[str, Any]]:
    """The rows of one image; one without coordinates where it is listed with no boxes."""
    if not isinstance(entries, list):
        raise ValueError(f"{key} must have a list of boxes, not {json.dumps(entries)[:40]}")
    rows = [{**entry, "key": key} if isinstance(entry, dict) else {"key": key, "box": entry} for entry in entries]
    return rows or [{"key": key}]
