"""What was found in the images of an annotation, counted for its page: kinds, and their scores."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline.output import index
from recast.pipeline.regions.export.annotated import regions_by_fragment
from recast.pipeline.report.output import Output
from recast.pipeline.report.trends import Bar
from recast.pipeline.wording import count

BINS = 20
"""Bars of a histogram of scores, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One kind of thing."""

    kind: str
    regions: int
    images: int
    """How many images have any."""
    bars: tuple[Bar, ...]
    """How many of it have which score."""


def found_in(output: Output) -> tuple[Found, ...]:
    """What the current rows of an output tell of, most of it first. Memory: keys, and a few fragments."""
    view = index.current(output.fs, output.root, ["key", "status", index.STEM])
    regions: Counter[tuple[str, int]] = Counter()
    images: Counter[str] = Counter()
    for _, rows, _ in regions_by_fragment(output.fs, output.root, view.filter(pc.equal(view["status"], "ok"))):
        told = _told(rows["regions"].combine_chunks())
        for row in told.group_by(["kind", "bin"]).aggregate([([], "count_all")]).to_pylist():
            regions[row["kind"] or "region", row["bin"]] += row["count_all"]
        for row in told.group_by("kind").aggregate([("image", "count_distinct")]).to_pylist():
            images[row["kind"] or "region"] += row["image_count_distinct"]
    found = (_found(kind, [regions[kind, number] for number in range(BINS)], images[kind]) for kind in images)
    return tuple(sorted(found, key=lambda each: (-each.regions, each.kind)))


def _told(lists: pa.Array) -> pa.Table:
    """Of each region its `image`, by number, its `kind`, and the `bin` of its score."""
    flat = pc.list_flatten(lists)
    scores = np.nan_to_num(pc.struct_field(flat, "score").to_numpy(zero_copy_only=False).astype(np.float64))
    bins = np.floor(scores * BINS).clip(0, BINS - 1).astype(np.int64)
    columns = [pc.list_parent_indices(lists), pc.struct_field(flat, "kind"), pa.array(bins)]
    return pa.table(columns, ["image", "kind", "bin"])


def _found(kind: str, counts: list[int], images: int) -> Found:
    highest = max(counts)
    bars = tuple(
        Bar(
            parts=(("plain", round(100 * number / highest, 2)),) if number else (),
            words=f"{place / BINS:g} to {(place + 1) / BINS:g}: {count(number)}",
        )
        for place, number in enumerate(counts)
    )
    return Found(kind=kind, regions=sum(counts), images=images, bars=bars)
