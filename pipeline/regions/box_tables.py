"""The files that boxes come in: Parquet, CSV, and JSON of several kinds, COCO's among them."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from recast.pipeline.regions.coco import is_coco, rows_of_coco

CORNERS = ("left", "top", "right", "bottom")
SIZE = ("image_height", "image_width")
"""Columns of the size in pixels of the image that a region was drawn for."""


def rows_of(data: bytes, url: str) -> list[dict[str, Any]]:
    """A table's rows, each with a `key`, and a `box`, four corners, or a `mask` and the image's size.

    Raises:
        ArrowException, ValueError, KeyError, TypeError: it is not what its name says, or lacks what it needs.
    """
    if url.endswith(".json"):
        loaded = json.loads(data.decode("utf-8-sig"))
        if not isinstance(loaded, dict):
            return list(loaded)
        if is_coco(loaded):
            return rows_of_coco(loaded)
        return [row for key, entries in loaded.items() for row in _entries(key, entries)]
    if url.endswith((".parquet", ".pq")):
        table = pq.ParquetFile(io.BytesIO(data), pre_buffer=False).read(use_threads=False)
    elif url.endswith(".csv"):
        texts = dict.fromkeys(("key", "mask", "points", "track"), pa.string())
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
    return table.to_pylist()


def _entries(key: str, entries: Any) -> list[dict[str, Any]]:
    """The rows of one image; one without coordinates where it is listed with no boxes."""
    if not isinstance(entries, list):
        raise ValueError(f"{key} must have a list of boxes, not {json.dumps(entries)[:40]}")
    rows = [{**entry, "key": key} if isinstance(entry, dict) else {"key": key, "box": entry} for entry in entries]
    return rows or [{"key": key}]
