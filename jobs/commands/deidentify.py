"""The commands of de-identification: `recast deidentify`, `restore`, `rekey` and `audit`."""

import contextlib
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from recast.jobs.arguments import DeidentifiedOutput, ResultFolder, Results, SourceImages
from recast.jobs.existing import new_file
from recast.jobs.exit_status import DONE, TOO_MANY_FAILED
from recast.jobs.specs import DeidentifyOptions, RestoreOptions, SpecError, place

if TYPE_CHECKING:
    from recast.pipeline.bulk.job import BulkJob
    from recast.pipeline.bulk.operation import Operation
    from recast.pipeline.deidentify.secrets.seal import Secret
    from recast.pipeline.deidentify.settings import Deidentification
    from recast.pipeline.regions.tables import Compared

NAMED = 5
"""Keys that a sentence quotes."""


def deidentify(
    source: SourceImages,
    output: Results,
    *,
    options: Annotated[DeidentifyOptions | None, Parameter(name="*")] = None,
) -> int:
    """Find and replace the faces in every image of SOURCE, and what --boxes names; images in doubt are held.

    Example: `recast deidentify scans/ clean/ --method blur --policy hold`
    """
    from recast.jobs import bulk

    options = options or DeidentifyOptions()
    if options.preview:
        from recast.jobs.preview import preview

        return preview(source, output, options, options.preview)
    job, operation = deidentification(source, output, options)
    with unnamed(job):
        status = bulk.run_alone(job, options, operation)
    if operation.compared is None or not operation.compared.complete or not operation.compared.unmatched:
        return status
    return status or _unmatched(options.asked(), operation.compared)


def deidentification(source: str, output: str, options: DeidentifyOptions) -> tuple["BulkJob", "Operation"]:
    """The job that `recast deidentify` is asked for, and its operation; a passcode may be typed meanwhile."""
    from recast.jobs import single
    from recast.pipeline.deidentify.operation import deidentifying

    asked = options.asked()
    job = options.job("deidentify", source, output, making=asked.deciding())
    if single.is_meant(job):
        single.refuse(job, needs_folder=_kept_beside(asked))
    secret = _passcode_for(asked, options, place(output)) if asked.needs_passcode else None
    if asked.names == "hmac" and job.prune and (job.source.include or job.source.exclude):
        raise SpecError("--prune can't tell which hidden keys --include and --exclude mean; leave out one or the other")
    return job, deidentifying(asked, job.output, secret)


def unnamed(job: "BulkJob") -> contextlib.AbstractContextManager[None]:
    """While it lasts, no sentence tells the names of inputs, if the job hides them."""
    from recast.pipeline.deidentify.secrets.names import clashes_unnamed

    return clashes_unnamed() if job.making.get("names") == "hmac" else contextlib.nullcontext()


def restore(
    source: DeidentifiedOutput,
    output: ResultFolder,
    *,
    options: Annotated[RestoreOptions | None, Parameter(name="*")] = None,
) -> int:
    """Restore the originals of a de-identified SOURCE: sealed regions exactly, or with --model faces from their codes.

    Example: `recast restore clean/ restored/ --passcode-file passcode.txt`
    """
    from recast.jobs import bulk

    options = options or RestoreOptions()
    job, operation = restoration(source, output, options)
    return bulk.run_alone(job, options, operation)


def restoration(source: str, output: str, options: RestoreOptions) -> tuple["BulkJob", "Operation"]:
    """The job that `recast restore` is asked for, and its operation; a passcode may be typed meanwhile."""
    from recast.pipeline.deidentify.restoration import restoring

    model = place(options.model) if options.model else ""
    return options.job("restore", source, output), restoring(place(source), _passcode(options), model)


def rekey(
    output: DeidentifiedOutput,
    *,
    passcode_file: str | None = None,
    passcode_env: str | None = None,
    new_passcode_file: str | None = None,
    new_passcode_env: str | None = None,
) -> int:
    """Change the passcode of OUTPUT's sealed originals; the old one no longer opens them.

    Without options, both passcodes are asked for.

    Example: `recast rekey clean/ --passcode-file old.txt --new-passcode-file new.txt`

    Parameters
    ----------
    passcode_file
        A file whose first line is the present passcode.
    passcode_env
        The name of an environment variable that holds the present passcode.
    new_passcode_file
        A file whose first line is the new passcode.
    new_passcode_env
        The name of an environment variable that holds the new passcode.
    """
    from recast.jobs.passcodes import passcode
    from recast.pipeline.deidentify.secrets.seal import opened_lock, relock

    key = opened_lock(place(output), passcode(passcode_file, passcode_env))
    relock(place(output), key, passcode(new_passcode_file, new_passcode_env, of="new ", twice=True))
    print(f"{output}: the new passcode opens its seals")
    return DONE


def audit(
    output: DeidentifiedOutput,
    *,
    to: str | None = None,
    sample: int = 24,
    show_held: bool = False,
    source: str | None = None,
    signed_off_by: str | None = None,
    replace: bool = False,
) -> int:
    """Write an audit of OUTPUT: a page for a person to judge, and JSON beside it.

    Example: `recast audit clean/ --sample 48`

    Parameters
    ----------
    to
        Where the page goes; by default audit.html in OUTPUT.
    sample
        How many published images, and how many held ones, the page shows, sampled at random.
    show_held
        Show the originals of held images on the page, which is then as sensitive as they are.
    source
        Where the originals of held images lie; by default where your own runs on this machine read them.
    signed_off_by
        The name of who has looked at the page and signs the published images off; it goes into the JSON.
    replace
        Overwrite any file that is there, a signed audit included; an unsigned audit is always overwritten.
    """
    from recast.pipeline import report

    page, beside = report.audit_places(place(output), place(to) if to else None)
    new_file(page, replace=replace, own=report.is_page)
    new_file(beside, replace=replace, own=report.is_unsigned)
    page, beside = report.write_audit(
        place(output),
        page,
        sample=sample,
        show_held=show_held,
        signed_off_by=signed_off_by,
        source=place(source) if source else None,
    )
    print(page)
    print(beside)
    return DONE


def _kept_beside(asked: "Deidentification") -> str:
    """The option by which something is kept in OUTPUT beside its images: seals, a lock, a salt; empty for none."""
    if asked.seal:
        return "--seal"
    if asked.names == "hmac":
        return "--keys hmac"
    return "--model" if asked.model else ""


def _unmatched(asked: "Deidentification", table: "Compared") -> int:
    """Say which keys of a table of boxes are no image's; a failure where boxes are all that looks."""
    from recast.pipeline import events

    few = ", ".join(map(repr, table.unmatched[:NAMED])) + (", …" if len(table.unmatched) > NAMED else "")
    named = "" if asked.names == "hmac" else f": {few}"
    status = DONE if asked.looks else TOO_MANY_FAILED
    events.say(
        f"{len(table.unmatched):,} of {table.keys:,} keys of {asked.boxes} belong to no image of the source{named}; "
        "keys are paths relative to SOURCE, with their endings",
        **({"status": status} if status else {}),
    )
    return status


def _passcode(options: DeidentifyOptions | RestoreOptions, *, twice: bool = False) -> "Secret":
    from recast.jobs.passcodes import passcode

    return passcode(options.passcode_file, options.passcode_env, twice=twice)


def _passcode_for(asked: "Deidentification", options: DeidentifyOptions, output: str) -> "Secret":
    """The passcode that an output is to be made with: one that opens its lock, or a new one, which is typed twice."""
    from recast.pipeline import storage
    from recast.pipeline.deidentify.secrets.codes import read_salt
    from recast.pipeline.deidentify.secrets.seal import read_lock

    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"reading {output}"):
        lock = read_lock(fs, path)
        if asked.model:
            read_salt(fs, path)
    secret = _passcode(options, twice=lock is None)
    if lock is not None and (asked.seal or asked.names == "hmac"):
        lock.key(secret)
    return secret
