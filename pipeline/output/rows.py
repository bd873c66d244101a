"""The index: one row for every input, its columns a contract (`recast-output/2`)."""

import datetime
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

FORMAT = "recast-output/2"
SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("fingerprint", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("error", pa.string()),
        ("shard", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("member", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("channels", pa.int32()),
        ("source_width", pa.int32()),
        ("source_height", pa.int32()),
        ("sha256", pa.string()),
        (
            "regions",
            pa.list_(
                pa.struct(
                    [
                        ("kind", pa.string()),
                        ("box", pa.list_(pa.float32())),
                        ("score", pa.float32()),
                        ("action", pa.string()),
                        ("detector", pa.string()),
                        ("category", pa.int32()),
                        ("mask", pa.string()),
                        ("points", pa.list_(pa.float32())),
                        ("track", pa.string()),
                        ("frame", pa.int32()),
                    ]
                )
            ),
        ),
        ("scores", pa.list_(pa.struct([("name", pa.string()), ("value", pa.float64()), ("by", pa.string())]))),
        ("frames", pa.int32()),
        ("duration_s", pa.float64()),
        ("video", pa.string()),
        ("clip", pa.int32()),
        ("clips", pa.int32()),
        ("notes", pa.list_(pa.string())),
        pa.field("model", pa.string(), nullable=False),
        pa.field("spec", pa.string(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
        pa.field("finished_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
    ]
)


@dataclass(slots=True, kw_only=True)
class Row:
    """What became of one input. Columns and meanings: docs/output-format.md."""

    key: str
    source: str
    fingerprint: str
    status: str
    error: str | None = None
    shard: str | None = None
    offset: int | None = None
    length: int | None = None
    member: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    channels: int | None = None
    source_width: int | None = None
    source_height: int | None = None
    sha256: str | None = None
    regions: list[dict[str, Any]] | None = None
    """What was found; None: nobody looked, an empty list: looked and found nothing."""
    scores: list[dict[str, Any]] | None = None
    """Measures of this image: `name`, `value`, and `by`, the digest of what measured."""
    frames: int | None = None
    """How many frames a clip has; the four that follow are of clips, too."""
    duration_s: float | None = None
    video: str | None = None
    """The key of the film that it is cut from."""
    clip: int | None = None
    """Its number in the film, from 0."""
    clips: int | None = None
    """How many clips the film was cut into."""
    notes: list[str] | None = None
    """What a reader should know of this result: `first of 12 frames`."""
    model: str
    spec: str
    run: str
    finished_at: datetime.datetime
    epoch: int = 0
    """The writer's turn. Of several rows of a key that of the highest (epoch, finished_at) is current."""


def table(rows: list[Row], metadata: dict[str, str]) -> pa.Table:
    """Rows as a fragment's table; `metadata` goes to its Parquet key-value metadata."""
    assert [f.name for f in fields(Row)] == SCHEMA.names
    metadata = {**metadata, "recast.format": FORMAT}
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA.with_metadata(metadata))
