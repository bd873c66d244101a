"""The files that boxes come in: Parquet, CSV, and JSON of several kinds, COCO's among them."""

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

CORNERS = ("left", "top", "right", "bottom")


def rows_of(data: bytes, url: str) -> list[dict[str, Any]]:
    """A table's rows, each with a `key` and a `box` or four corners.

    Raises:
        ArrowException, ValueError, KeyError, TypeError: it is not what its name says, or lacks what it needs.
    """
    if url.endswith(".json"):
        loaded = json.loads(data.decode("utf-8-sig"))
        if not isinstance(loaded, dict):
            return list(loaded)
        if _is_coco(loaded):
            return _coco(loaded)
        return [row for key, entries in loaded.items() for row in _entries(key, entries)]
    if url.endswith((".parquet", ".pq")):
        table = pq.ParquetFile(io.BytesIO(data), pre_buffer=False).read(use_threads=False)
    elif url.endswith(".csv"):
        options = pyarrow.csv.ConvertOptions(column_types={"key": pa.string()})
        table = pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options)
    else:
        raise ValueError("its name ends in none of .parquet, .csv and .json, which say what it is")
    missing = {"key"} - set(table.column_names)
    if missing or not ({"box"} <= set(table.column_names) or set(CORNERS) <= set(table.column_names)):
        raise ValueError(f"it needs the columns key and box, or key, {', '.join(CORNERS)}; it has {table.column_names}")
    if nameless := pc.sum(pc.is_null(table["key"])).as_py():
        raise ValueError(f"{nameless} of its rows have no key")
    return table.to_pylist()


def _entries(key: str, entries: Any) -> list[dict[str, Any]]:
    """The rows of one image; one without coordinates where it is listed with no boxes."""
    if not isinstance(entries, list):
        raise ValueError(f"{key} must have a list of boxes, not {json.dumps(entries)[:40]}")
    rows = [{**entry, "key": key} if isinstance(entry, dict) else {"key": key, "box": entry} for entry in entries]
    return rows or [{"key": key}]


def _is_coco(loaded: dict[str, Any]) -> bool:
    """`images` and `annotations` are lists of objects, as no lists of boxes by key are."""
    images = loaded.get("images")
    return "annotations" in loaded and isinstance(images, list) and all("file_name" in image for image in images)


def _coco(loaded: dict[str, Any]) -> list[dict[str, Any]]:
    """COCO's object detection format: boxes are x, y, width and height; images without any were looked at."""
    names = {image["id"]: str(image["file_name"]) for image in loaded["images"]}
    kinds = {category["id"]: category["name"] for category in loaded.get("categories", ())}
    rows: list[dict[str, Any]] = [{"key": name} for name in names.values()]
    for number, annotation in enumerate(loaded["annotations"], 1):
        if annotation.get("image_id") not in names:
            raise ValueError(f"annotation {number} is of image {annotation.get('image_id')}, which images don't list")
        bbox = annotation.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise ValueError(f"annotation {number} has no bbox of four numbers")
        left, top, width, height = map(float, bbox)
        rows.append(
            {
                "key": names[annotation["image_id"]],
                "box": [left, top, left + width, top + height],
                "kind": kinds.get(annotation.get("category_id")),
                "score": annotation.get("score"),
            }
        )
    return rows
