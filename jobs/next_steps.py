"""What to type after a job: the commands that go on from its output."""

import os
import shlex

from recast.pipeline import events

NEXT = "next: "
"""How such a sentence begins."""
USES = {
    "translate": "recast translate SOURCE OUTPUT --model {bundle}",
    "upscale": "recast upscale SOURCE OUTPUT --model {bundle}",
    "deidentify": "recast deidentify SOURCE OUTPUT --model {bundle}",
    "annotate": "recast annotate SOURCE OUTPUT --model {bundle}",
    "detect": "recast deidentify SOURCE OUTPUT --detector {bundle}",
    "recognise": "recast evaluate deidentify ORIGINALS OUTPUT --faces TABLE --recognizer {bundle}",
    "classify": "recast train srgan --data DATA --output OUTPUT --loss-network {bundle}",
}
"""What bundles are for, by their tasks."""


def say(sentence: str) -> None:
    """Say it to a person, on standard error; logs for machines are without it."""
    if not events.wanted():
        events.say(f"{NEXT}{sentence}")


def use(bundle: str, task: str) -> str:
    """The command that uses a bundle of this task; "" where there is none yet."""
    return USES[task].format(bundle=typed(bundle)) if task in USES else ""


def after_bulk(job: str, output: str, *, packed: bool = True) -> str:
    """The sentence at the end of a bulk job."""
    place = typed(output)
    audit = f"`recast audit {place}` to judge what was found, " if job == "deidentify" else ""
    files = f", `recast index extract {place} FOLDER` for files" if packed else ""
    if job == "annotate":
        files = f", `recast index export {place} FILE --to coco` for other programs"
    return f"{audit}`recast report {place}` for a page to look at{files}"


def after_training(output: str) -> str:
    """The sentence at the end of a training."""
    from recast.pipeline import bundles

    bundle = f"{output}/bundle"
    command = use(bundle, bundles.describe(bundle).descriptor.task)
    first = f"`{command}` to use the bundle, " if command else ""
    return f"{first}`recast report {typed(output)}` for a page about the training"


def typed(place: str) -> str:
    """A place as a person would type it: relative where it lies below the working folder, quoted where it must be."""
    here = os.path.join(os.getcwd(), "")
    return shlex.quote(place.removeprefix(here))
