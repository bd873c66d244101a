"""`recast translate` and `recast upscale`: run a bulk job and say what came of it."""

import json
from dataclasses import asdict

from recast.jobs import next_steps, single
from recast.jobs.exit_status import DONE, TOO_MANY_FAILED
from recast.jobs.progress import BulkProgress
from recast.jobs.specs import BulkOptions
from recast.pipeline import events
from recast.pipeline.bulk import road
from recast.pipeline.bulk.job import BulkJob, Summary
from recast.pipeline.bulk.operation import Operation
from recast.pipeline.reasons import plural
from recast.pipeline.sources.passed_over import sentence as passed_over
from recast.pipeline.urls import shown, without_secrets
from recast.pipeline.wording import pace


def run_alone(job: BulkJob, options: BulkOptions, operation: Operation | None = None) -> int:
    """Run it, and say what to type next; one image into one file where that is meant. Returns the exit status."""
    if single.is_meant(job):
        single.refuse(job)
        return single.run(job, options, operation)
    status = run(job, options, operation)
    if status == DONE and not (options.dry_run or options.as_json):
        next_steps.say(next_steps.after_bulk(job.job, job.output, packed=job.shards != "files"))
    return status


def run(job: BulkJob, options: BulkOptions, operation: Operation | None = None) -> int:
    """Run it, or with `--dry-run` say what it would do. Returns the exit status."""
    if options.dry_run:
        summary = road.dry_run(job, operation)
        if not summary.inputs:
            events.say(f"warning: {job.source} holds no inputs")
        left = summary.inputs - summary.settled_before
        counts = {"inputs": summary.inputs, "to_do": left, "to_prune": summary.pruned}
        print(json.dumps({"spec": shown(asdict(job)), **counts, "passed_over": summary.passed_over}, indent=2))
        return DONE
    with BulkProgress(job.job, job.output) as progress:
        summary = road.run(job, progress, operation)
    print(json.dumps(_facts(summary)) if options.as_json else without_secrets(_sentence(job, summary)))
    if (passed := passed_over(summary.passed_over)) and not options.as_json:
        print(passed)
    if not summary.inputs:
        events.say(f"warning: {job.source} holds no inputs")
    if summary.failed_share > options.max_failed:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(summary.failures.items()))
        events.say(
            f"{summary.failed:,} of {summary.ok + summary.failed:,} inputs failed ({kinds}), more than --max-failed "
            f"{options.max_failed:g} allows; `recast report {job.output}` shows which and why{_advice(summary)}",
            status=TOO_MANY_FAILED,
        )
        return TOO_MANY_FAILED
    return DONE


def _advice(summary: Summary) -> str:
    if "not-an-image" not in summary.failures:
        return ""
    return (
        "; files that are no images can be left out by their names: --exclude '*.ENDING', or --include for the images"
    )


def _sentence(job: BulkJob, summary: Summary) -> str:
    done, wall = summary.ok + summary.failed + summary.held, summary.seconds["wall"]
    pruned = f"; {plural(summary.pruned, 'row')} of vanished inputs removed" if summary.pruned else ""
    if not done:
        return f"{job.output}: nothing to do, {plural(summary.inputs, 'input')} done before{pruned}"
    rare = {"held": summary.held, "done before": summary.settled_before}
    counts = {"ok": summary.ok, "failed": summary.failed, **{name: count for name, count in rare.items() if count}}
    return (
        f"{job.output}: {', '.join(f'{count:,} {name}' for name, count in counts.items())}; "
        f"{pace(done / wall)}, {summary.bytes_written / 1e6:.1f} MB in {_packing(job, summary)}, "
        f"{wall:.0f} s{pruned}"
    )


def _packing(job: BulkJob, summary: Summary) -> str:
    return f"{job.output.rstrip('/')}/files" if job.shards == "files" else plural(summary.shards, "shard")


def _facts(summary: Summary) -> dict[str, object]:
    return {k: v.isoformat() if k == "started_at" else v for k, v in asdict(summary).items()}
