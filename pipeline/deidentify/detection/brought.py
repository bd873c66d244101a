"""Boxes that a user brings: other detectors' finds, licence plates, persons; a table keyed by image."""

import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from recast.models.faces import LANDMARKS
from recast.pipeline import storage
from recast.pipeline.deidentify.regions import Region

CORNERS = ("left", "top", "right", "bottom")


class BoxesError(Exception):
    """A table of boxes that can't be used, in a sentence."""

    exit_status = 2


class Brought:
    """Regions by image key, from Parquet, CSV or JSON.

    Columns: `key`; `left`, `top`, `right`, `bottom` in pixels of the upright image, or one `box` of the four; perhaps
    `kind` (default `region`), `score` (default 1), `landmarks` (x and y of five points) and `identity`. JSON: a list of
    such objects, or an object of lists by key.

    Raises:
        BoxesError, StorageError: it can't be read, or a row makes no sense.
    """

    def __init__(self, url: str) -> None:
        fs, path = storage.filesystem(url)
        with storage.faults_as_sentences(f"reading the boxes {url}"):
            data = storage.read_bytes(fs, path)
        self.name = f"boxes {hashlib.sha256(data).hexdigest()[:12]}"
        try:
            rows = _rows(data, url)
            self._regions: Mapping[str, list[Region]] = _by_key(rows)
        except (pa.ArrowException, ValueError, KeyError, TypeError) as fault:
            reason = str(fault).partition("\n")[0]
            raise BoxesError(f"the boxes {url} can't be used: {reason}") from fault

    def __len__(self) -> int:
        """Images that have any."""
        return len(self._regions)

    def of(self, key: str) -> list[Region]:
        return self._regions.get(key, [])


def _rows(data: bytes, url: str) -> list[dict[str, Any]]:
    if url.endswith(".json"):
        loaded = json.loads(data)
        if isinstance(loaded, dict):
            return [_row(key, entry) for key, entries in loaded.items() for entry in entries]
        return list(loaded)
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
    return table.filter(pc.is_valid(table["key"])).to_pylist()


def _row(key: str, entry: Any) -> dict[str, Any]:
    return {"key": key, **entry} if isinstance(entry, dict) else {"key": key, "box": entry}


def _by_key(rows: list[dict[str, Any]]) -> Mapping[str, list[Region]]:
    regions: dict[str, list[Region]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        left, top, right, bottom = map(float, row["box"] if row.get("box") is not None else [row[c] for c in CORNERS])
        if not (left < right and top < bottom):
            raise ValueError(f"row {number}, {row['key']}: the box {left:g}, {top:g}, {right:g}, {bottom:g} is empty")
        score = row.get("score")
        landmarks = tuple(map(float, row.get("landmarks") or ()))
        if len(landmarks) not in (0, 2 * LANDMARKS):
            raise ValueError(f"row {number}, {row['key']}: landmarks are {len(landmarks)} numbers, not {2 * LANDMARKS}")
        regions[str(row["key"])].append(
            Region(
                kind=str(row.get("kind") or "region"),
                box=(left, top, right, bottom),
                score=1.0 if score is None else float(score),
                detector="boxes",
                landmarks=landmarks,
                identity=str(row.get("identity") or ""),
            )
        )
    return dict(regions)
