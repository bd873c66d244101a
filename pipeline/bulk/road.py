"""The bulk road: every image of a source through an operation, into shards and an index that accounts for each."""

import datetime
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import pyarrow as pa

from recast.pipeline import events, storage
from recast.pipeline.bulk.completed import Completed, read_completed
from recast.pipeline.bulk.file_results import FileResults
from recast.pipeline.bulk.inventory_counts import InventoryCounts
from recast.pipeline.bulk.job import BulkJob, Summary
from recast.pipeline.bulk.manifest import write_manifest
from recast.pipeline.bulk.network import bundle_operation
from recast.pipeline.bulk.operation import Operation
from recast.pipeline.bulk.units import by_key, chunks, pending
from recast.pipeline.bulk.workforce import Workforce
from recast.pipeline.output import in_hand, replacement
from recast.pipeline.output.compaction import delete_keys
from recast.pipeline.output.fragment_states import KeyPredicate, fragment_states
from recast.pipeline.output.housekeeping import collect_garbage
from recast.pipeline.output.index import current
from recast.pipeline.output.lease import Lease
from recast.pipeline.progress import Progress
from recast.pipeline.reasons import plural
from recast.pipeline.sources.inventory import inventory
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.storage import FileSystem

T = TypeVar("T")


class BulkError(Exception):
    """A run that can't begin or go on; the message says what is wrong and what to do."""

    exit_status = 1


class MistakeError(BulkError):
    """Recast itself failed at inputs, which stay untried."""

    def __init__(self, sentence: str, summary: Summary) -> None:
        super().__init__(sentence)
        self.details = summary.mistake_details
        """For a log file: the traceback of the first."""


class MismatchError(BulkError):
    """The output was made by another bundle or with other settings."""

    exit_status = 2


def run(job: BulkJob, progress: Progress, operation: Operation | None = None) -> Summary:
    """Settle every input of the source that isn't settled yet. Running it again resumes it.

    Args:
        operation: what is done to each input; None: the generator of the job's bundle.

    Raises:
        BulkError, BundleError, StorageError, LeaseError, ClusterError: with a sentence each; nothing half done counts.
    """
    began = time.monotonic()
    summary = Summary(_run_name(), datetime.datetime.now(datetime.UTC))
    operation = operation or bundle_operation(job)
    fs, output = storage.filesystem(job.output)
    log = events.driver_log(run=summary.run, job=job.job, output=job.output)
    log.info("run begun", source="hidden" if operation.hides else str(job.source), model=operation.digest)
    over = PassedOver()
    # A mistaken source is refused before the output is touched.
    listing = _begun(inventory(job.source, over, operation.listing_of))
    with storage.faults_as_sentences(f"writing {job.output}"), Lease(fs, output, summary.run) as lease:
        settled = _settled(fs, output, job, operation)
        lease.above(settled.epoch)
        for damaged in settled.damaged:
            progress.says(f"{damaged.name}: {damaged.damage}; what it held is done again")
        seen = InventoryCounts(keep_keys=job.prune, doubts=job.replace)
        listing = islice(operation.listed(listing, run=True), job.limit)
        files = FileResults(fs, output, job.encoder.format, settled) if job.shards == "files" else None
        plan = chunks(pending(files.checked(listing) if files else listing, settled, seen))
        plan = map(by_key, plan) if operation.hides else plan
        left_behind = in_hand.left_behind(fs, output)
        if first := next(plan, None):
            if files:
                files.begin()
            with Workforce(
                job, operation, progress, run=summary.run, claim=lease.claim, left_behind=left_behind
            ) as workforce:
                plan = chain([first], plan)
                if files:
                    plan = _with_way_made(plan, files, lease)
                _map(workforce, plan, seen, summary, lease, progress)
        summary.inputs, summary.settled_before = seen.inputs, seen.settled
        summary.unmatched = len(operation.compared.unmatched) if operation.compared else 0
        summary.passed_over = dict(over.counts)
        lease.check()
        _refuse_untried(summary)
        replaced = _replaced(fs, output, job, operation, settled, seen, progress) if job.replace else set()
        redone = () if _stopped_short(job, seen) else settled.damaged
        summary.swept = collect_garbage(
            fs, output, lease, settled.shards, redone, replaced, began_at=summary.started_at
        )
        if job.prune:
            _say_spared(fs, output, job, seen, progress)
            summary.pruned = delete_keys(fs, output, lease, _vanished(job, seen)).rows
        lease.confirm()
        summary.seconds["wall"] = time.monotonic() - began
        if left_behind:
            in_hand.clear(fs, output)
        write_manifest(fs, output, job, operation, summary)
    log.info("run finished", **summary.counts(), seconds=round(summary.seconds["wall"], 3))
    return summary


def _refuse_untried(summary: Summary) -> None:
    """Raises MistakeError or BulkError if inputs are left that the same command would try again."""
    done = summary.ok + summary.failed + summary.held
    if summary.mistakes:
        raise MistakeError(
            f"{plural(summary.mistakes, 'input')} met a mistake in Recast, {summary.mistake} first; the other "
            f"{done:,} are done, and the same command tries what is left",
            summary,
        )
    if summary.untried:
        raise BulkError(
            f"{summary.untried:,} inputs could not be read ({summary.untried_because}); the other {done:,} are done. "
            "Run the same command again to try what is left"
        )


def dry_run(job: BulkJob, operation: Operation | None = None) -> Summary:
    """Count what a run would do, without taking the lease or writing anything (`--dry-run`)."""
    summary = Summary("none", datetime.datetime.now(datetime.UTC))
    operation = operation or bundle_operation(job)
    fs, output = storage.filesystem(job.output)
    with storage.faults_as_sentences(f"reading {job.output}"):
        seen, over = InventoryCounts(keep_keys=job.prune), PassedOver()
        listing = operation.listed(inventory(job.source, over, operation.listing_of), run=False)
        listing, settled = islice(listing, job.limit), _settled(fs, output, job, operation)
        if job.shards == "files":
            listing = FileResults(fs, output, job.encoder.format, settled).checked(listing)
        for _ in pending(listing, settled, seen):
            pass
        if job.prune:
            summary.pruned = sum(state.gone for state in fragment_states(fs, output, _vanished(job, seen)))
    summary.inputs, summary.settled_before = seen.inputs, seen.settled
    summary.passed_over = dict(over.counts)
    return summary


def _vanished(job: BulkJob, seen: InventoryCounts) -> KeyPredicate:
    """Which keys of the output the source has no more. What --include and --exclude keep out of the run stays."""
    if not seen.inputs:
        raise BulkError(
            f"{job.source} holds no inputs at all, and --prune would remove every result; if that is meant, remove "
            f"{job.output} itself"
        )
    return lambda keys: seen.gone(keys) & np.array([job.source.admits(key) for key in keys], bool)


def _stopped_short(job: BulkJob, seen: InventoryCounts) -> bool:
    """Whether there may be inputs that the run did not come to: --limit, or a source that is empty at the moment."""
    return not seen.inputs or (job.limit is not None and seen.inputs >= job.limit)


def _replaced(
    fs: FileSystem,
    output: str,
    job: BulkJob,
    operation: Operation,
    settled: Completed,
    seen: InventoryCounts,
    progress: Progress,
) -> set[str]:
    """Fragments of other makers whose inputs were done again or are gone. Tells of results that stay."""
    source, others = job.source, set(settled.makers) - {(operation.digest, job.spec_digest())}
    filters = bool(source.include or source.exclude)

    def unreached(keys: Sequence[str]) -> np.ndarray:
        if _stopped_short(job, seen) or (filters and operation.hides):  # hidden keys don't tell what the filters mean
            return np.ones(len(keys), bool)
        return seen.doubtful(keys) | ~np.array([source.admits(key) for key in keys], bool)

    if not others:
        return set()
    reached_all = not (_stopped_short(job, seen) or filters or seen.unlisted)
    found, stay = replacement.replaced(fs, output, others, None if reached_all else unreached)
    if stay:
        progress.says(
            f"kept {plural(stay, 'result')} of another bundle or other settings, whose inputs this run did not come to"
        )
    return found


def _say_spared(fs: FileSystem, output: str, job: BulkJob, seen: InventoryCounts, progress: Progress) -> None:
    """Tell of results that stay because what their inputs would be in can't be listed, whole, at the moment."""
    if not seen.unlisted:
        return
    keys = [key for key in current(fs, output, ["key"])["key"].to_pylist() if job.source.admits(key)]
    for source, count in seen.spared(keys).items():
        progress.says(f"{source} can't be listed to its end; {count:,} results that may be of it are not pruned")


def _run_name() -> str:
    """Sortable by start, unique without asking anybody."""
    return f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def _settled(fs: FileSystem, output: str, job: BulkJob, operation: Operation) -> Completed:
    """What needs no work. Refuses an output that another bundle or other settings made, unless it is to be replaced."""
    pair = (operation.digest, job.spec_digest())
    found = read_completed(fs, output, retry_failed=job.retry_failed, made_by=pair if job.replace else None)
    others = {other: about for other, about in found.makers.items() if other != pair}
    if others and not job.replace:
        advice = operation.apart or "choose another output"
        raise MismatchError(
            f"{job.output} was made {_difference(others, operation, job)}; {advice}, or give --replace to make it anew"
        )
    return found


def _difference(others: Mapping[tuple[str, str], Mapping[str, str]], operation: Operation, job: BulkJob) -> str:
    """How the rows in an output differ from what is asked for now: by whose bundle, or by which settings."""
    (model, _), about = next(iter(others.items()))
    if model != operation.digest:
        return f"with {about.get('recast.bundle')!r} ({model}), not with {operation.name!r} ({operation.digest})"
    before, now = json.loads(about.get("recast.settings", "{}")), json.loads(json.dumps(job.deciding()))
    changed = [f"{k} {before.get(k)} (now {now.get(k)})" for k in now | before if before.get(k) != now.get(k)]
    return f"with other settings: {', '.join(changed)}"


def _begun(items: Iterator[T]) -> Iterator[T]:
    """The same items, the first one already drawn, so that what can go wrong at the start does so here."""
    first = list(islice(items, 1))
    return chain(first, items)


def _with_way_made(plan: Iterator[pa.Table], files: FileResults, lease: Lease) -> Iterator[pa.Table]:
    """The same chunks; of each the files of earlier results are gone by the time that it comes."""
    for chunk in plan:
        files.make_way(lease, chunk)
        yield chunk


def _map(
    workforce: Workforce, plan: Iterator[pa.Table], seen: InventoryCounts, summary: Summary, lease: Lease,
    progress: Progress,
) -> None:  # fmt: skip
    """Every chunk of the plan through the workforce."""
    for chunk in plan:
        progress.planned(seen.inputs, seen.settled)
        for report in workforce.map(chunk, seen.inputs - seen.settled):
            lease.check()
            summary.add(report)
            if fault := report["run_fault"]:
                raise MistakeError(fault, summary) if report["mistakes"] else BulkError(fault)
