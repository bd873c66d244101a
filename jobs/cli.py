"""The command line `recast`: its commands put together, and how each of them ends."""

import os
import select
import sys
from typing import Any

from recast.jobs import errors, signals
from recast.jobs.app import app
from recast.jobs.commands import bulk, deidentify
from recast.jobs.commands.annotate import annotate
from recast.jobs.commands.completion import install_completion
from recast.jobs.commands.demo import demo, sample
from recast.jobs.commands.env import env
from recast.jobs.commands.evaluate import evaluate_app
from recast.jobs.commands.index import index_app
from recast.jobs.commands.models import models_app
from recast.jobs.commands.plan import plan_app
from recast.jobs.commands.report import report
from recast.jobs.commands.schedule import schedule_app
from recast.jobs.commands.submit import jobs_app, submit
from recast.jobs.commands.train import train
from recast.jobs.config_files import fields_of, text_of, without_config
from recast.jobs.exit_status import CUT_OFF, DONE, INTERRUPTED, TERMINATED
from recast.jobs.headings import CLUSTERS, JOBS, OTHERS, RESULTS
from recast.pipeline import events

__all__ = ["app", "main"]
CARRIERS = (["submit"], ["schedule"])
"""Commands that hold another one, whose -c file is not theirs."""

for heading, commands in {
    JOBS: (bulk.upscale, bulk.translate, deidentify.deidentify, deidentify.restore, annotate, train),
    RESULTS: (report, deidentify.audit, deidentify.rekey),
    CLUSTERS: (submit,),
    OTHERS: (demo, sample, env),
}.items():
    for command in commands:
        app.command(command, group=heading)
app.command(install_completion, name="--install-completion", group=OTHERS)
for flag in (*app.help_flags, *app.version_flags):
    app[flag].group = OTHERS
for family in (plan_app, index_app, evaluate_app, jobs_app, schedule_app, models_app):
    app.command(family)


def main() -> None:
    """Run the command line and exit with its status; whatever ends it gets one sentence, never a traceback."""
    command = sys.argv[1:]
    signals.listen(command)
    status = _status(command)
    if status in (INTERRUPTED, TERMINATED, CUT_OFF):
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
        if signals.told_to_end():
            return _say(*signals.sentence(fault, arguments))
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
    if _asks_of_a_recipe(arguments):
        return _recipe_help(arguments)
    if arguments[:1] in CARRIERS:
        return app(arguments, exit_on_error=False, print_error=False)
    arguments, path = without_config(arguments)
    app.config = fields_of(text_of(path), path) if path else ()
    return app(arguments, exit_on_error=False, print_error=False)


def _asks_of_a_recipe(arguments: list[str]) -> bool:
    """Whether a command is `recast train RECIPE --help`."""
    named = len(arguments) > 1 and arguments[0] == "train" and not arguments[1].startswith("-")
    return named and not set(arguments).isdisjoint(app.help_flags)


def _recipe_help(arguments: list[str]) -> Any:
    """The page of `recast train`, and below it what its recipe has."""
    from recast.jobs import recipe_help

    panels = recipe_help.panels(arguments[1])
    status = app(arguments, exit_on_error=False, print_error=False)
    recipe_help.show(panels)
    return status


def _say(sentence: str, status: int) -> int:
    events.say(sentence, status=status)
    return status
