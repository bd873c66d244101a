"""The audit of a de-identification: its policy, what it did and held back, by run, and pictures to judge it by."""

import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline import storage
from recast.pipeline.images.decode import decode
from recast.pipeline.output import index
from recast.pipeline.report.bulk import Kind, bad_rows, counted, kind_of
from recast.pipeline.report.embed import Embedded, embed, image_of
from recast.pipeline.report.output import Output
from recast.pipeline.report.pairs import MOST_PIXELS, Pair, read_pairs, read_sources, tried
from recast.pipeline.report.runs import Run, address, read_runs

FORMAT = "recast-audit/1"
AUDIT = "audit"
"""Name of the page and of the JSON beside it, without endings."""
COLUMNS = ("key", "source", "status", "error", "sha256", "regions", "run", "finished_at")
POLICY = (
    *("detectors", "scales", "mirrored", "threshold", "doubt", "most_regions", "without", "sample_share"),
    *("method", "shape", "margin", "strength", "consistent_by", "seal", "names"),
)
"""Settings of the job that a reviewer asks about, in this order."""
PLAINLY = {"without": "where nothing is found", "names": "keys", "seal": "originals sealed", "doubt": "doubtful from"}
THUMB_PX = 320


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
    published: tuple[Pair, ...]
    """A random sample, the same one for the same output."""
    withheld: tuple[Withheld, ...]
    originals_shown: bool
    digest: str
    """Of the current view: every key, status and sha256."""

    @property
    def shown_policy(self) -> dict[str, Any]:
        """The policy under names for people."""
        return {PLAINLY.get(name, name): value for name, value in self.policy.items()}

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
            "sampled": [pair.key for pair in self.published],
            "view_digest": self.digest,
        }  # fmt: skip


def gather(output: Output, *, sample: int, show_held: bool) -> AuditFacts:
    """Read index, manifests and the sampled pictures of a de-identified output.

    Raises:
        StorageError: it is no output of `recast deidentify`.
    """
    runs, unread = read_runs(output)
    runs = tuple(run for run in runs if run.job == "deidentify")
    if not runs:
        raise storage.StorageError(f"no run of `recast deidentify` has finished in {output.url}: nothing to audit")
    rows = index.current(output.fs, output.root, COLUMNS).sort_by("key")
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
        untouched=good["regions"].null_count,
        policy={name: making[name] for name in POLICY if name in making},
        model=runs[0].model,
        kinds=tuple(kind_of(bad, kind) for kind in counted(bad, "status", "kind")),
        runs=runs,
        runs_unread=unread,
        published=read_pairs(output, _drawn(good["key"].to_pylist(), sample, digest), befores=False),
        withheld=_withheld(held, sample, digest, show_held),
        originals_shown=show_held,
        digest=digest,
    )


def sign(facts: AuditFacts, page: bytes, by: str | None) -> bytes:
    """The JSON beside the page; with a name, it says who signed what off, and when."""
    said: dict[str, Any] = {**facts.to_json(), "page_sha256": hashlib.sha256(page).hexdigest(), "signed_off": None}
    if by:
        said["signed_off"] = {
            "by": by,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "statement": f"{by} has looked at the page of this digest and at the {len(facts.published)} sampled images "
            f"and {len(facts.withheld)} held ones on it, and signs off the {facts.ok} published images of this view.",
        }
    return json.dumps(said, indent=2).encode() + b"\n"


def _digest(rows: pa.Table) -> str:
    digest = hashlib.sha256()
    for row in rows.select(["key", "status", "sha256"]).to_pylist():
        digest.update(json.dumps([row["key"], row["status"], row["sha256"]]).encode() + b"\n")
    return "sha256:" + digest.hexdigest()


def _replaced(good: pa.Table) -> list[dict[str, Any]]:
    regions: Counter[tuple[str, str]] = Counter()
    images: Counter[tuple[str, str]] = Counter()
    for found in good["regions"].to_pylist():
        kinds = [(region["kind"], region["action"]) for region in found or ()]
        regions.update(kinds)
        images.update(set(kinds))
    rows = [{"kind": k, "action": a, "regions": n, "images": images[k, a]} for (k, a), n in regions.items()]
    return sorted(rows, key=lambda row: -row["regions"])


def _drawn(keys: Sequence[str], wanted: int, seed: str) -> list[str]:
    """Some of the keys, by chance, but the same ones for the same view."""
    return sorted(sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\n{key}".encode()).digest())[:wanted])


def _withheld(held: pa.Table, wanted: int, seed: str, show: bool) -> tuple[Withheld, ...]:
    rows = {row["key"]: row for row in held.to_pylist()}
    chosen = [rows[key] for key in _drawn(list(rows), wanted, seed)]
    read = read_sources([row["source"] for row in chosen]) if show else {}
    return tuple(
        Withheld(
            key=row["key"],
            reason=row["error"] or "no reason given",
            picture=tried(_thumb, read[row["source"]]) if row["source"] in read else None,
        )
        for row in chosen
    )


def _thumb(data: bytes) -> Embedded:
    image = image_of(decode(data, MOST_PIXELS))
    image.thumbnail((THUMB_PX, THUMB_PX))
    return embed(image)
