"""The training road: dataset -> batches -> recipe step -> checkpoint -> bundle, in this process or on a Ray cluster."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from recast.pipeline import events, reach, storage
from recast.pipeline.output.lease import Lease
from recast.pipeline.progress import Progress, Silent
from recast.pipeline.training import example_files
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.health import HealthWarning
from recast.pipeline.training.log import now, write_run
from recast.pipeline.training.preparation import Prepared, prepared
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.training.spec import Start, origin
from recast.pipeline.training.worker import Job

if TYPE_CHECKING:
    from recast.pipeline.training.here import Here
    from recast.pipeline.training.on_ray import OnRay


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training ended."""

    output: str
    steps: int
    seconds: float
    """Seconds of training alone, over all runs of it."""
    scalars: dict[str, float]
    """The last logged line."""
    warnings: tuple[HealthWarning, ...] = ()
    """What was seen to go wrong without ending the training."""
    unreadable: tuple[str, ...] = ()
    """Images of the data that could not be trained on, each with its fault."""
    already_done: bool = False


def train(plan: TrainingSpec, progress: Progress | None = None) -> Outcome:
    """Train to the last step, going on from the newest checkpoint in the output; a finished training is left alone.

    Args:
        progress: who watches; None: nobody.

    Raises:
        SettingError: no such recipe, preset or setting, or something that the recipe needs or does not take.
        StorageError: data or output can't be reached.
        LeaseError: another training writes the output, or took it over.
        TrainingError: unfit data, an output of another training, divergence, or workers lost too often.
    """
    asked = prepared(plan)
    if isinstance(asked, Start):
        seconds = asked.run["seconds"]
        return Outcome(output=plan.output, steps=asked.step, seconds=seconds, scalars={}, already_done=True)
    fs, root = storage.filesystem(asked.plan.output)
    with Lease(fs, root, asked.run["started_at"]) as lease:
        if (there := max(Checkpoints(plan.output).steps(), default=0)) != asked.start.step:
            raise TrainingError(
                f"another training has just brought {plan.output} to step {there:,}; run this one again to resume "
                "from there"
            )
        return trained(asked, lease, progress or Silent())


def trained(asked: Prepared, lease: Lease, progress: Progress) -> Outcome:
    """Train what was prepared, under a lease of its output. Raises as `train`."""
    plan, config, run = asked.plan, asked.config, asked.run
    log = events.driver_log(recipe=plan.recipe, output=plan.output)
    log.info("run begun", data=origin(run["spec"]), step=asked.start.step, steps=config.steps)
    on_ray, why = where(plan)
    for sentence in (f"training: {why}", *asked.said):
        progress.says(sentence)
    with storage.faults_as_sentences(f"writing {plan.output}"):
        write_run(plan.output, run)
    scratch = tempfile.TemporaryDirectory(prefix="recast-train-", ignore_cleanup_errors=True)
    with scratch as folder, _place(on_ray) as place:  # the folder goes when the workers have gone
        run |= _threads(plan, run, place.cores)
        write_run(plan.output, run)
        job = Job(
            plan=plan,
            config=config,
            threads=run["threads_per_worker"],
            claim=lease.claim,
            versions=run["versions"],
            images_per_example=asked.images_per_example,
            held_out=tuple(example_files.rows(asked.held_out)),
            scratch=folder,
        )
        progress.planned(config.steps, asked.start.step)
        try:
            facts = _checked(place.fit(asked, job, progress), config.steps)
        except BaseException as fault:
            lease.check()  # else run.json is another's now
            interrupted = isinstance(fault, KeyboardInterrupt)
            problem = "interrupted" if interrupted else str(fault) or type(fault).__name__
            write_run(plan.output, {**run, "status": "failed", "finished_at": now(), "problem": problem})
            raise
    run["counts"] |= {"unreadable": len(facts["unreadable"])}
    finished = {"finished_at": now(), "steps": facts["step"], "seconds": facts["seconds"]}
    if facts["stopped"]:
        finished["stopped_early"] = facts["stopped"]
        progress.says(facts["stopped"])
    finished["warnings"] = [asdict(warning) for warning in facts["warnings"]]
    lease.check()
    write_run(plan.output, {**run, **finished, "status": "finished"})
    log.info("run finished", **finished)
    return Outcome(
        output=plan.output,
        steps=facts["step"],
        seconds=facts["seconds"],
        scalars=facts["scalars"],
        warnings=tuple(facts["warnings"]),
        unreadable=tuple(facts["unreadable"]),
    )


def where(plan: TrainingSpec) -> tuple[bool, str]:
    """Whether a training runs on Ray, and why, in words."""
    if plan.on:
        return plan.on == "ray", f"{'on Ray' if plan.on == 'ray' else 'in this process'}, as --on says"
    if plan.workers > 1:
        return True, f"on Ray, with {plan.workers} workers"
    if cluster := reach.cluster_at_hand():
        return True, f"on Ray, on {cluster}"
    return False, "in this process, with one worker"


def _place(on_ray: bool) -> "OnRay | Here":
    """Where the workers run. Ray is imported only where it is used: it takes seconds."""
    if on_ray:
        from recast.pipeline.training.on_ray import OnRay

        return OnRay()
    from recast.pipeline.training.here import Here

    return Here()


def _checked(facts: dict[str, Any], steps: int) -> dict[str, Any]:
    """Raises TrainingError where the workers stopped before the last step, with what they said."""
    if facts["problem"]:
        raise TrainingError(facts["problem"])
    if facts["step"] < steps and not facts["stopped"]:
        raise TrainingError(f"the training stopped at step {facts['step']} of {steps}; run it again to resume")
    return facts


def _threads(plan: TrainingSpec, run: Mapping[str, Any], cores: int) -> dict[str, int]:
    """Tensor threads of each worker: as before with as many, or as asked for, or for workers that share all cores."""
    workers = plan.least_workers or plan.workers
    before = run.get("threads_per_worker") if run.get("least_workers") == workers else None
    threads = before or plan.threads_per_worker or max(1, cores // workers)
    return {"threads_per_worker": threads, "least_workers": workers}
