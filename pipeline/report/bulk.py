"""What the page about a bulk output says, gathered from its index, its manifests and a few of its pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline.output import index
from recast.pipeline.output.rows import SCHEMA
from recast.pipeline.report.found import Found, found_in
from recast.pipeline.report.output import Output, text
from recast.pipeline.report.pairs import WHOLE_PX, Pair, choose, read_pairs
from recast.pipeline.report.provenance import is_secretive, own_sources
from recast.pipeline.report.runs import Run, Totals, address, read_runs, total
from recast.pipeline.report.trends import Trend, trends
from recast.pipeline.wording import moment

COLUMNS = (
    *("key", "status", "error", "format", "length", "width", "height", "source_width", "source_height"),
    *("model", "spec", "finished_at"),
)
MOST_KINDS = MOST_FOUND = 20
MOST_SIZES = 8
EXAMPLES = 3
LONGEST = {"kind": 60, "sentence": 400}
"""Characters of an error that are shown."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Inputs that came to no result for one kind of reason."""

    status: str
    kind: str
    count: int
    examples: tuple[tuple[str, str], ...]
    """Key and sentence."""


@dataclass(frozen=True, kw_only=True)
class BulkFacts:
    """All that the page of a bulk output shows."""

    url: str
    name: str
    job: str
    """`upscale`, `translate`, …; empty where no run has finished."""
    inputs: int
    ok: int
    failed: int
    held: int
    damaged: int
    """Fragments of the index that can't be believed, and whose rows are missing from all that is said here."""
    newest: datetime | None
    """When the newest row was settled."""
    runs: tuple[Run, ...]
    runs_unread: int
    totals: Totals
    trends: tuple[Trend, ...]
    kinds: tuple[Kind, ...]
    kinds_left_out: int
    pairs: tuple[Pair, ...]
    befores_withheld: bool
    """Whether originals are left out since a de-identification had a part in the output."""
    found: tuple[Found, ...]
    """What an annotation found, most of it first; empty for other jobs."""
    found_left_out: int
    """Regions of rarer kinds."""
    sources_unknown: bool
    """Whether they are left out since nobody says that its sources may be opened."""
    formats: tuple[Mapping[str, Any], ...]
    """`format`, `count`, `bytes`, most frequent first."""
    sizes: tuple[Mapping[str, Any], ...]
    """`source_width`, `source_height`, `width`, `height`, `count`, most frequent first."""
    sizes_left_out: int
    makers: tuple[Mapping[str, Any], ...]
    """`model`, `spec` (digests), `count`: who made the current rows."""

    @property
    def whole_px(self) -> int:
        """Of results with a longer side, the middle is shown."""
        return WHOLE_PX

    @property
    def scale(self) -> int | None:
        """How much larger the results are, where that is one whole number."""
        scales = {size["width"] / size["source_width"] for size in self.sizes if size["source_width"]}
        whole = round(next(iter(scales))) if len(scales) == 1 else 1
        return whole if whole > 1 and scales == {whole} else None


def gather(output: Output, source: str | None = None) -> BulkFacts:
    """Read index, manifests and a few pictures of a bulk output. Memory: the index's plain columns, and few images.

    Args:
        source: where the person says that the inputs lie; without it those of their own runs alone are shown.
    """
    runs, unread = read_runs(output)
    rows, damaged = index.current_and_damage(output.fs, output.root, COLUMNS)
    rows = rows.cast(pa.schema([SCHEMA.field(name) for name in COLUMNS]))
    job = runs[0].job if runs else ""
    withheld = is_secretive(output)
    places = () if withheld else own_sources(output, source)
    counts = {row["status"]: row["count"] for row in counted(rows, "status")}
    good = rows.filter(pc.equal(rows["status"], "ok"))
    bad = bad_rows(rows)
    kinds = counted(bad, "status", "kind")
    images = good.filter(pc.is_valid(good["format"]))  # a row may be ok and have no image
    sizes = counted(images, "source_width", "source_height", "width", "height")
    found = found_in(output) if job == "annotate" else ()
    chosen = good["key"].take(pa.array(choose(len(good)), pa.int64())).to_pylist()
    return BulkFacts(
        url=address(output, runs),
        name=output.name,
        job=job,
        inputs=len(rows),
        ok=counts.get("ok", 0),
        failed=counts.get("failed", 0),
        held=counts.get("held", 0),
        damaged=damaged,
        newest=moment(pc.max(rows["finished_at"]).as_py()),
        runs=runs,
        runs_unread=unread,
        totals=total(runs),
        trends=trends(runs),
        kinds=tuple(kind_of(bad, kind) for kind in kinds[:MOST_KINDS]),
        kinds_left_out=sum(kind["count"] for kind in kinds[MOST_KINDS:]),
        pairs=read_pairs(output, chosen, places),
        found=found[:MOST_FOUND],
        found_left_out=sum(each.regions for each in found[MOST_FOUND:]),
        sources_unknown=not withheld and not places,
        befores_withheld=withheld,
        formats=tuple(_formats(images)),
        sizes=tuple(sizes[:MOST_SIZES]),
        sizes_left_out=sum(size["count"] for size in sizes[MOST_SIZES:]),
        makers=tuple(counted(rows, "model", "spec")),
    )


def counted(rows: pa.Table, *names: str) -> list[dict[str, Any]]:
    """Each combination of values and its `count`, most frequent first."""
    if not len(rows):
        return []
    grouped = rows.group_by(list(names)).aggregate([([], "count_all")]).rename_columns([*names, "count"])
    return grouped.sort_by([("count", "descending")]).to_pylist()


def _formats(images: pa.Table) -> list[dict[str, Any]]:
    if not len(images):
        return []
    grouped = images.group_by("format").aggregate([([], "count_all"), ("length", "sum")])
    return grouped.rename_columns(["format", "count", "bytes"]).sort_by([("count", "descending")]).to_pylist()


def bad_rows(rows: pa.Table) -> pa.Table:
    """Failed and held inputs, with the `kind` (the text before the first colon) and the `sentence` of each error."""
    bad = rows.filter(pc.not_equal(rows["status"], "ok")).select(["key", "status", "error"])
    error = pc.fill_null(bad["error"], "no reason given")
    split = pc.extract_regex(error, r"(?s)^(?P<kind>[^:]*):?\s*(?P<sentence>.*)$")
    for name in ("kind", "sentence"):
        bad = bad.append_column(name, pc.utf8_slice_codeunits(pc.struct_field(split, name), 0, LONGEST[name]))
    return bad


def kind_of(bad: pa.Table, found: Mapping[str, Any]) -> Kind:
    same = pc.and_(pc.equal(bad["status"], found["status"]), pc.equal(bad["kind"], found["kind"]))
    examples = bad.filter(same).slice(0, EXAMPLES)
    return Kind(
        status=found["status"],
        kind=found["kind"],
        count=found["count"],
        examples=tuple(zip(examples["key"].to_pylist(), map(text, examples["sentence"].to_pylist()), strict=True)),
    )
