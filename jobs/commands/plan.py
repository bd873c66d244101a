"""`recast plan`: what a bulk job or a training will take, from a sample of it that is tried here."""

import json
import math
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from pydantic import ByteSize, Field

from recast.jobs.app import Commands
from recast.jobs.arguments import RecipeName, SourceImages
from recast.jobs.commands.bulk import upscaling
from recast.jobs.exit_status import DONE
from recast.jobs.headings import JOBS
from recast.jobs.progress import span
from recast.jobs.specs import TrainOptions, UpscaleOptions, bundle_place, named_places
from recast.pipeline import events

plan_app = Commands(name="plan", group=JOBS)


class PlanOptions(UpscaleOptions):
    """Options of `recast plan`: those of the job, of which --model, --scale, --format and --quality matter most."""

    sample: int = Field(24, ge=1)
    """Images to try, drawn at random from all of SOURCE."""
    hours: float = Field(24.0, gt=0)
    """Hours that the whole job may take."""


@plan_app.default
def plan(source: SourceImages, *, options: Annotated[PlanOptions | None, Parameter(name="*")] = None) -> int:
    """Estimate what a job over all of SOURCE would take, from a sample that goes through --model on this machine.

    Nothing is written. `recast plan train RECIPE` estimates a training.

    Example: `recast plan photos/ --scale 4 --hours 8`
    """
    from recast.pipeline import bundles
    from recast.pipeline.bulk.network import bundle_operation
    from recast.pipeline.bulk.sizing import sized

    options = options or PlanOptions()
    bundle = options.bundle()
    task = bundles.describe(bundle_place(bundle)).descriptor.task
    if task not in ("upscale", "translate"):
        raise cyclopts.CycloptsError(msg=f"{bundle} is a bundle for `recast {task}`, which plan can't size yet")
    nowhere = "memory://nothing-is-written"
    if task == "upscale":
        job, operation = upscaling(source, nowhere, options)
    else:
        job, operation = options.job(task, source, nowhere, bundle, inputs=named_places(options.inputs)), None
    found = sized(job, operation or bundle_operation(job), sample=options.sample)
    if options.as_json:
        print(json.dumps({**found.to_json(), "hours": options.hours}))
        return DONE
    if not found.inputs:
        print(f"{source} holds no inputs")
        return DONE
    ms = {name: 1e3 * getattr(found, f"{name}_s") for name in ("fetch", "decode", "generate", "encode")}
    stages = ", ".join(f"{name} {value:.1f} ms" for name, value in ms.items())
    facts = found.to_json()
    print(f"{found.inputs:,} inputs; {found.sampled} sampled here, {found.unreadable} of them unreadable")
    print(f"one image ({found.megapixels:.2f} megapixels) on one core{_beside(found.device)}: {stages}")
    print(f"bound by: {facts['bound']}")
    if found.device == "cpu":
        cores = facts["core_hours"] / options.hours
        print(
            f"{facts['core_hours']:,.1f} core hours; in {options.hours:g} hours: {max(1, round(cores + 0.5)):,} cores"
        )
    else:
        gpus = max(1, math.ceil(facts["accelerator_hours"] / options.hours))
        print(
            f"{facts['accelerator_hours']:,.1f} GPU hours; in {options.hours:g} hours: {gpus:,} GPUs with "
            f"{facts['cores_per_accelerator']:.1f} cores each, one actor a GPU"
        )
    read, written, driver = (facts[name] / 1e9 for name in ("bytes_read", "bytes_written", "driver_bytes"))
    print(f"to read {read:,.2f} GB, to write {written:,.2f} GB; the driver's memory grows to {driver:,.2f} GB")
    return DONE


def _beside(device: str) -> str:
    return "" if device == "cpu" else " beside the GPU"


@plan_app.command(name="train")
def plan_train(recipe: RecipeName, *, options: Annotated[TrainOptions, Parameter(name="*")]) -> int:
    """Estimate the time and memory of a training, from a few steps that are taken on this machine.

    The options are those of `recast train RECIPE`. Nothing is written to --output.

    Example: `recast plan train pix2pix --data pairs/ --output runs/facades`
    """
    from recast.jobs.train import plan as asked
    from recast.pipeline.training.sizing import sized

    found = sized(asked(recipe, options))
    if options.as_json:
        print(json.dumps(found.to_json()))
        return DONE
    for sentence in found.said:
        events.say(sentence)
    print(
        f"{found.recipe} {found.preset}: {found.steps:,} steps of {found.batch_size:,} examples; each of the "
        f"{found.examples:,} is seen {found.rounds:,.3g} times"
    )
    where = f"cpu, {found.threads} threads" if found.device == "cpu" else found.device
    each = f", with {found.share:,} of the examples for each of {found.workers:,} workers" if found.workers > 1 else ""
    print(
        f"one step here ({where}{each}): {found.step_s:.3g} s; the whole training at this pace: {span(found.seconds)}"
    )
    held = "held in memory" if found.decoded_bytes <= found.cache_bytes * found.workers else "partly in scratch files"
    print(f"memory of a worker: {_amount(found.memory_bytes)}")
    decoded, ms = _amount(found.decoded_bytes), f"{1e3 * found.read_s:.0f} ms"
    print(f"all examples, decoded: {decoded}, {held}; each is read once, in {ms}")
    print(
        f"a checkpoint: {_amount(found.checkpoint_bytes)}; {found.checkpoints:,} will be written, and the newest "
        f"{found.kept} kept; the bundle: {_amount(found.bundle_bytes)}"
    )
    print(f"not known from here: another processor or GPU{', and the exchange between workers' * (found.workers > 1)}")
    return DONE


def _amount(number_of_bytes: float) -> str:
    return ByteSize(round(number_of_bytes)).human_readable(decimal=True, separator=" ")
