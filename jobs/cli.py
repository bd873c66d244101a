"""The command line `recast`: each command is a typed spec and the job that it starts."""

import dataclasses
import os
import select
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter

from recast import __version__
from recast.jobs import deidentify_commands, errors, signals
from recast.jobs.config_files import fields_of, text_of, without_config
from recast.jobs.evaluate_commands import evaluate_app
from recast.jobs.existing import new_file, new_folder
from recast.jobs.index_commands import index_app
from recast.jobs.models_commands import models_app
from recast.jobs.plan_command import plan
from recast.jobs.schedule_commands import schedule_app
from recast.jobs.specs import TrainOptions, TranslateOptions, UpscaleOptions, place
from recast.pipeline import events

DONE, FAILED, BAD_USAGE, INTERRUPTED = 0, errors.FAILED, errors.BAD_USAGE, signals.INTERRUPTED
CUT_OFF = 141
"""Whoever read the results has gone; what a shell shows for a program that SIGPIPE ended."""
CARRIERS = (["submit"], ["schedule"])
"""Commands that hold another one, whose -c file is not theirs."""

app = App(
    name="recast",
    help="Train image-to-image GANs on a Ray cluster and run them over whole image archives.",
    help_format="plaintext",
    version=__version__,
    version_flags=["--version"],
    default_parameter=Parameter(negative=()),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
for command in deidentify_commands.COMMANDS:
    app.command(command)


@app.command
def translate(source: str, output: str, *, options: Annotated[TranslateOptions, Parameter(name="*")]) -> int:
    """Run a trained generator over every image of SOURCE (folder, glob, tar, zip, Parquet, inventory, output)."""
    from recast.jobs import bulk

    job = dataclasses.replace(options.job("translate", source, output, options.model), noise=options.noise)
    return bulk.run(job, options)


@app.command
def upscale(source: str, output: str, *, options: Annotated[UpscaleOptions | None, Parameter(name="*")] = None) -> int:
    """Enlarge every image of SOURCE (folder, glob, tar, zip, Parquet, inventory, output)."""
    from recast.jobs import bulk

    options = options or UpscaleOptions()
    return bulk.run(options.job("upscale", source, output, options.bundle()), options)


@app.command
def train(recipe: str, *, options: Annotated[TrainOptions, Parameter(name="*")]) -> int:
    """Train RECIPE on images, on this machine or the cluster that RAY_ADDRESS names; again goes on where it stopped."""
    from recast.jobs import train

    return train.run(recipe, options)


@app.command
def demo(folder: str = "demo-out", *, local: bool = False) -> int:
    """The whole story on this machine in minutes: draw, train, translate, upscale, verify, report.

    FOLDER must be new, empty, or an earlier demo's, which is emptied.

    Parameters
    ----------
    local
        Use a folder in place of the object store that the demo starts otherwise.
    """
    from recast.jobs import demo

    return demo.run(folder, local=local)


@app.command
def sample(
    kind: Literal["facades", "faces", "leaves", "photos", "shapes"],
    folder: str,
    *,
    count: int = 400,
    size: int = 256,
    seed: int = 0,
    replace: bool = False,
) -> int:
    """Write a data set for trying things out into FOLDER: facades (photo | labels), faces (scenes and people, with
    tables of their faces), dead leaves, shapes (a folder for each class), real photographs.

    Parameters
    ----------
    count
        Training examples to draw; a tenth as many are held out.
    size
        Side of a drawn picture in pixels.
    seed
        Decides what is drawn.
    replace
        Write into a folder that holds files already.
    """
    from recast.jobs import samples

    new_folder(place(folder), replace=replace)
    return samples.run(kind, place(folder), count=count, size=size, seed=seed)


@app.command
def report(output: str, *, to: str | None = None, source: str | None = None, replace: bool = False) -> int:
    """Write one self-contained HTML page about OUTPUT, a bulk or a training output, and say where it is.

    Parameters
    ----------
    to
        Where to write it; by default report.html in OUTPUT.
    source
        Where the inputs of OUTPUT lie, to show them beside the results. Those of your own runs on this machine are
        shown without it; never those of a de-identification.
    replace
        Write over what is there, be it no page of Recast's; an earlier page is written over in any case.
    """
    from recast.pipeline import report

    where = report.report_place(place(output), place(to) if to else None)
    new_file(where, replace=replace, own=report.is_page)
    print(report.write(place(output), where, source=place(source) if source else None))
    return DONE


@app.command
def submit(
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    address: str | None = None,
    follow: bool = False,
    name: str | None = None,
) -> int:
    """Run a job on a Ray cluster: `recast submit [--address URL] [--follow] [--name N] JOB ARGS…`.

    Parameters
    ----------
    address
        Of the cluster's job server; by default RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265.
    follow
        Show the job's log and return its exit status.
    name
        Submission id; by default Ray makes one.
    """
    from recast.jobs import submission

    if not command:
        raise cyclopts.CycloptsError(msg="submit needs a job: recast submit upscale SOURCE OUTPUT")
    words, config = understood(command)
    return submission.submit(words, config, address=address, follow=follow, name=name)


app.command(plan)
app.command(evaluate_app)
app.command(schedule_app)

jobs_app = App(name="jobs", help="Recast's jobs on a Ray cluster: which there are, what they say, and how to end one.")
app.command(jobs_app)


@jobs_app.command(name="list")
def jobs_list(*, address: str | None = None) -> int:
    """List the jobs that `recast submit` started, the newest first.

    Parameters
    ----------
    address
        Of the cluster's job server; by default RAY_API_SERVER_ADDRESS, or http://127.0.0.1:8265.
    """
    from recast.jobs import submission

    return submission.list_jobs(address=address)


@jobs_app.command(name="logs")
def jobs_logs(job: str, *, address: str | None = None, follow: bool = False) -> int:
    """Print the log of JOB.

    Parameters
    ----------
    address
        Of the cluster's job server.
    follow
        Stay until the job ends, and return its exit status.
    """
    from recast.jobs import submission

    return submission.logs(job, address=address, follow=follow)


@jobs_app.command(name="stop")
def jobs_stop(job: str, *, address: str | None = None) -> int:
    """End JOB; what it has settled stays, and the same command goes on from there.

    Parameters
    ----------
    address
        Of the cluster's job server.
    """
    from recast.jobs import submission

    return submission.stop(job, address=address)


app.command(models_app)
app.command(index_app)


def main() -> None:
    """Run the command line and exit with its status; whatever ends it gets one sentence, never a traceback."""
    command = sys.argv[1:]
    signals.listen(command)
    status = _status(command)
    if status in (signals.INTERRUPTED, signals.TERMINATED, CUT_OFF):
        sys.stderr.flush()
        os._exit(status)  # nobody who ends a command wants to wait for what libraries do at the end
    sys.exit(status)


def _status(arguments: list[str]) -> int:
    """Run a command and say how it ended, if not well. Returns its exit status."""
    try:
        status = _called(arguments) or DONE
        sys.stdout.flush()
        return status
    except KeyboardInterrupt as fault:
        return _say(*signals.sentence(fault, arguments))
    except Exception as fault:
        if isinstance(fault, BrokenPipeError) and _unread():
            return CUT_OFF
        return _say(*errors.ending(fault, arguments))


def _unread() -> bool:
    """Whether nobody reads standard output any more, as `head` doesn't when it has its lines."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), select.POLLOUT)
    except (OSError, ValueError):
        return False
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _called(arguments: list[str]) -> Any:
    """Run a command; with `-c FILE`, the file's fields stand wherever a flag isn't given."""
    if arguments[:1] in CARRIERS:
        return app(arguments, exit_on_error=False, print_error=False)
    arguments, path = without_config(arguments)
    app.config = fields_of(text_of(path), path) if path else ()
    return app(arguments, exit_on_error=False, print_error=False)


def understood(command: Sequence[str]) -> tuple[list[str], str]:
    """A command that is to run elsewhere or later, checked now: its words, and the text of its -c file ("": none).

    Raises:
        CycloptsError: `recast` itself wouldn't take it.
    """
    words, path = without_config(list(command))
    text = text_of(path) if path else ""
    app.config = fields_of(text, path) if path else ()
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    finally:
        app.config = ()
    return words, text


def _say(sentence: str, status: int) -> int:
    events.say(sentence, status=status)
    return status
