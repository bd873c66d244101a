"""A bulk job whose SOURCE is one image and whose OUTPUT is to be one: just that file is written."""

import dataclasses
import hashlib
import json
from pathlib import PurePosixPath

from recast.jobs.existing import new_file
from recast.jobs.exit_status import DONE, TOO_MANY_FAILED
from recast.jobs.specs import BulkOptions, SpecError
from recast.pipeline import events, storage
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.network import bundle_operation
from recast.pipeline.bulk.operation import Operation
from recast.pipeline.images.encode import Format
from recast.pipeline.sources.endings import IMAGES
from recast.pipeline.urls import shown, without_secrets

FORMATS: dict[str, Format] = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""The format of the result, by the ending of OUTPUT."""


def is_meant(job: BulkJob) -> bool:
    """Whether SOURCE is one image file and OUTPUT, which is no folder yet, ends like one."""
    if len(job.source.urls) != 1 or _ending(job.output) not in FORMATS:
        return False
    (source,) = job.source.urls
    if _ending(source) not in IMAGES or storage.is_chain(source):
        return False
    (fs, path), (to_fs, to) = storage.filesystem(source), storage.filesystem(job.output)
    with storage.faults_as_sentences(f"reading {source}"):
        return bool(fs.isfile(path)) and not to_fs.isdir(to)


def refuse(job: BulkJob, *, needs_folder: str = "") -> None:
    """Raises SpecError for what one image can't be asked for.

    Args:
        needs_folder: an option that keeps something beside its results; empty where none does.
    """
    option = "--prune" if job.prune else needs_folder
    if option:
        raise SpecError(f"{option} needs an OUTPUT that is a folder, and {job.output} ends like an image")


def run(job: BulkJob, options: BulkOptions, operation: Operation | None = None) -> int:
    """Write the result of the one image, or say why there is none. Returns the exit status."""
    from recast.pipeline.bulk.single import single  # torch takes longer than a refusal

    job = dataclasses.replace(job, encoder=dataclasses.replace(job.encoder, format=format_of(job)))
    new_file(job.output, replace=job.replace)
    if options.dry_run:
        print(json.dumps({"spec": shown(dataclasses.asdict(job)), "inputs": 1, "to_do": 1}, indent=2))
        return DONE
    made = single(job, operation or bundle_operation(job))
    if made.status == "ok":
        fs, path = storage.filesystem(job.output)
        with storage.faults_as_sentences(f"writing {job.output}"):
            storage.write_bytes(fs, path, made.data)
    if options.as_json:
        digest = hashlib.sha256(made.data).hexdigest() if made.data else None
        facts = {"output": job.output, **dataclasses.asdict(made), "bytes": len(made.data), "sha256": digest}
        print(json.dumps({name: value for name, value in facts.items() if name != "data"}))
    elif made.status == "ok":
        notes = "".join(f"; {note}" for note in made.notes)
        events.show(f"{job.output}: {made.width} x {made.height} px, {len(made.data) / 1e6:.1f} MB{notes}")
    if made.status == "ok":
        return DONE
    (source,) = job.source.urls
    events.say(without_secrets(f"{source}: {made.status} ({made.error}); nothing is written"), status=TOO_MANY_FAILED)
    return TOO_MANY_FAILED


def format_of(job: BulkJob) -> Format:
    """What the ending of OUTPUT says. Raises SpecError where --format, or the job itself, says otherwise."""
    ending = _ending(job.output)
    wanted, default = FORMATS[ending], type(job.encoder)().format
    if job.encoder.format not in (wanted, default):
        raise SpecError(f"--format {job.encoder.format} writes no {ending}; leave it out, for OUTPUT's ending decides")
    return wanted


def _ending(url: str) -> str:
    return "" if url.endswith("/") else PurePosixPath(url).suffix.lower()
