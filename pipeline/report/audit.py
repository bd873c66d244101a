"""The audit of a de-identification: its policy, what it did and held back, by run, and pictures to judge it by."""

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline import storage
from recast.pipeline.images.decode import decode
from recast.pipeline.output import index
from recast.pipeline.report.bulk import Kind, bad_rows, counted, kind_of
from recast.pipeline.report.embed import Embedded, embed, visible
from recast.pipeline.report.inspection import Shown, inspected
from recast.pipeline.report.output import Output
from recast.pipeline.report.pairs import MOST_PIXELS, read_sources, tried
from recast.pipeline.report.policy import POLICY, policy_in_words
from recast.pipeline.report.provenance import own_sources
from recast.pipeline.report.runs import Run, address, read_runs

FORMAT = "recast-audit/1"
AUDIT = "audit"
"""Name of the page and of the JSON beside it, without endings."""
COLUMNS = (
    *("key", "source", "status", "error", "sha256", "regions", "run", "finished_at"),
    *index.PLACE,
    "notes",
)
HELD_PX = 800


@dataclass(frozen=True, kw_only=True)
class Withheld:
    """An image that was held back."""

    key: str
    reason: str
    picture: Embedded | None
    """The original, where it was asked for and can be read."""


@dataclass(frozen=True, kw_only=True)
class AuditFacts:
    """All that an audit says."""

    url: str
    name: str
    inputs: int
    ok: int
    failed: int
    held: int
    replaced: tuple[Mapping[str, Any], ...]
    """`kind`, `action`, `regions`, `images`."""
    untouched: int
    """Published images in which nothing was replaced."""
    policy: Mapping[str, Any]
    model: Mapping[str, Any]
    """Detectors with their versions, and what replaced what they found."""
    kinds: tuple[Kind, ...]
    runs: tuple[Run, ...]
    runs_unread: int
    published: tuple[Shown, ...]
    """A random sample, the same one for the same output."""
    withheld: tuple[Withheld, ...]
    originals_shown: bool
    """Whether originals of held images were asked for."""
    digest: str
    """Digest of the current view: every key, status and sha256."""
    sampled_from: int = 0
    """Of a preview: how many inputs its images were sampled from; 0 for an audit."""

    @property
    def not_shown(self) -> tuple[Shown, ...]:
        """Sampled images that could not be shown."""
        return tuple(shown for shown in self.published if shown.picture is None)

    @property
    def reduced(self) -> int:
        """Sampled images that are shown smaller than they are."""
        return sum(shown.reduced for shown in self.published)

    @property
    def policy_in_words(self) -> list[tuple[str, str]]:
        """What the settings mean, for who doesn't know them."""
        return policy_in_words(self.policy)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "output": self.url,
            "counts": {"inputs": self.inputs, "ok": self.ok, "failed": self.failed, "held": self.held},
            "published_untouched": self.untouched,
            "replaced": [dict(row) for row in self.replaced],
            "held": {kind.kind: kind.count for kind in self.kinds if kind.status == "held"},
            "failed": {kind.kind: kind.count for kind in self.kinds if kind.status == "failed"},
            "policy": dict(self.policy),
            "model": dict(self.model),
            "runs": [
                {"run": run.name, "finished_at": run.finished_at.isoformat() if run.finished_at else None,
                 "ok": run.ok, "failed": run.failed, "held": run.held, "spec_digest": run.spec_digest}
                for run in self.runs
            ],
            "sampled": [shown.key for shown in self.published],
            "images": [shown.to_json() for shown in self.published],
            "held_listed": [{"key": held.key, "original_shown": held.picture is not None} for held in self.withheld],
            "view_digest": self.digest,
        }  # fmt: skip


def gather(output: Output, *, sample: int, show_held: bool, source: str | None = None) -> AuditFacts:
    """Read index, manifests and the sampled pictures of a de-identified output.

    Args:
        source: where the person says that held originals lie; without it those of their own runs alone are opened.

    Raises:
        StorageError: it is no output of `recast deidentify`, or a part of its index is damaged.
    """
    runs, unread = read_runs(output)
    runs = tuple(run for run in runs if run.job == "deidentify")
    if not runs:
        raise storage.StorageError(f"no run of `recast deidentify` has finished in {output.url}: nothing to audit")
    rows = index.current(output.fs, output.root, COLUMNS, whole=True).sort_by("key")
    good, bad = rows.filter(pc.equal(rows["status"], "ok")), bad_rows(rows)
    held = rows.filter(pc.equal(rows["status"], "held"))
    digest = _digest(rows)
    making = runs[0].spec.get("making") or {}
    counts = {row["status"]: row["count"] for row in counted(rows, "status")}
    return AuditFacts(
        url=address(output, runs),
        name=output.name,
        inputs=len(rows),
        ok=counts.get("ok", 0),
        failed=counts.get("failed", 0),
        held=counts.get("held", 0),
        replaced=tuple(_replaced(good)),
        untouched=_untouched(good),
        policy={name: making[name] for name in POLICY if name in making},
        model=runs[0].model,
        kinds=tuple(kind_of(bad, kind) for kind in counted(bad, "status", "kind")),
        runs=runs,
        runs_unread=unread,
        published=_published(output, good, sample, digest),
        withheld=_withheld(held, sample, digest, own_sources(output, source) if show_held else None),
        originals_shown=show_held,
        digest=digest,
    )


class SignError(storage.StorageError):
    """An audit that can't be signed: its page doesn't show what the signature would say was looked at."""


def sign(facts: AuditFacts, page: bytes, by: str | None) -> bytes:
    """The JSON beside the page; with a name, it says who signed what off, and when.

    Raises:
        SignError: a sampled image could not be shown.
    """
    said: dict[str, Any] = {**facts.to_json(), "page_sha256": hashlib.sha256(page).hexdigest(), "signed_off": None}
    if by and facts.not_shown:
        first = facts.not_shown[0]
        raise SignError(
            f"{len(facts.not_shown)} of the {len(facts.published)} sampled images can't be shown, the first is "
            f"{first.key} ({first.note.removeprefix('Not shown: ').rstrip('.')}): nobody can sign off what is not on "
            f"the page; run `recast index verify` on the output and the job again, then audit it"
        )
    if by:
        seen = sum(held.picture is not None for held in facts.withheld)
        said["signed_off"] = {
            "by": by,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "statement": f"{by} has looked at the page of this digest: at {len(facts.published)} sampled images, each "
            f"whole ({facts.reduced} of them reduced, with parts of them as they are), at the reasons of "
            f"{len(facts.withheld)} held ones and the originals of {seen} of these. {by} signs off the {facts.ok} "
            f"published images of this view.",
        }
    return json.dumps(said, indent=2).encode() + b"\n"


def is_unsigned(data: bytes) -> bool:
    """Whether a file's bytes are those of the JSON that goes beside an audit's page, and nobody has signed it."""
    try:
        said = json.loads(data)
    except ValueError:
        return False
    if not isinstance(said, dict) or not str(said.get("format", "")).startswith("recast-audit/"):
        return False
    return said.get("signed_off") is None


def _untouched(good: pa.Table) -> int:
    """Images in which nothing was found: an empty list of regions; in outputs of version 1, null."""
    found = pc.fill_null(pc.list_value_length(good["regions"]), 0)
    return int(pc.sum(pc.equal(found, 0)).as_py() or 0)


def _digest(rows: pa.Table) -> str:
    digest = hashlib.sha256()
    for row in rows.select(["key", "status", "sha256"]).to_pylist():
        digest.update(json.dumps([row["key"], row["status"], row["sha256"]]).encode() + b"\n")
    return "sha256:" + digest.hexdigest()


def _replaced(good: pa.Table) -> list[dict[str, Any]]:
    """Regions, and the images that they lie in, by kind and what was done to them; most regions first."""
    found = good["regions"].combine_chunks()
    regions = pc.list_flatten(found)
    columns = [pc.list_parent_indices(found), *(pc.struct_field(regions, name) for name in ("kind", "action"))]
    told = pa.table(columns, ["image", "kind", "action"])
    grouped = told.group_by(["kind", "action"]).aggregate([("image", "count"), ("image", "count_distinct")])
    named = grouped.rename_columns(["kind", "action", "regions", "images"])
    return named.sort_by([("regions", "descending"), ("kind", "ascending"), ("action", "ascending")]).to_pylist()


def _drawn(keys: Sequence[str], wanted: int, seed: str) -> list[str]:
    """Some of the keys, drawn at random, but the same ones for the same view."""
    return sorted(sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\n{key}".encode()).digest())[:wanted])


def _published(output: Output, good: pa.Table, wanted: int, seed: str) -> tuple[Shown, ...]:
    keys = _drawn(good["key"].to_pylist(), wanted, seed)
    rows = good.filter(pc.is_in(good["key"], pa.array(keys, pa.string()))).to_pylist()
    return tuple(inspected(output, row) for row in sorted(rows, key=lambda row: row["key"]))


def _withheld(held: pa.Table, wanted: int, seed: str, places: tuple[str, ...] | None) -> tuple[Withheld, ...]:
    """Some of the held images; with places, their originals as far as they lie there."""
    rows = {row["key"]: row for row in held.to_pylist()}
    chosen = [rows[key] for key in _drawn(list(rows), wanted, seed)]
    read = read_sources([row["source"] for row in chosen], places or ())
    return tuple(
        Withheld(
            key=row["key"],
            reason=row["error"] or "no reason given",
            picture=tried(_thumb, read[row["source"]]) if row["source"] in read else None,
        )
        for row in chosen
    )


def _thumb(data: bytes) -> Embedded:
    ((_, image), *_more) = visible(decode(data, MOST_PIXELS))
    image.thumbnail((HELD_PX, HELD_PX))
    return embed(image)
