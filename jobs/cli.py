"""The command line `recast`: its commands put together, and how each of them ends."""

import os
import select
import sys
from typing import Any

from recast.jobs import errors, signals
from recast.jobs.app import app
from recast.jobs.commands import bulk, deidentify
from recast.jobs.commands.demo import demo, sample
from recast.jobs.commands.evaluate import evaluate_app
from recast.jobs.commands.index import index_app
from recast.jobs.commands.models import models_app
from recast.jobs.commands.plan import plan
from recast.jobs.commands.report import report
from recast.jobs.commands.schedule import schedule_app
from recast.jobs.commands.submit import jobs_app, submit
from recast.jobs.commands.train import train
from recast.jobs.config_files import fields_of, text_of, without_config
from recast.jobs.exit_status import CUT_OFF, DONE, INTERRUPTED, TERMINATED
from recast.pipeline import events

CARRIERS = (["submit"], ["schedule"])
"""Commands that hold another one, whose -c file is not theirs."""

for command in (*deidentify.COMMANDS, bulk.translate, bulk.upscale, train, demo, sample, report, submit, plan):
    app.command(command)
for commands in (evaluate_app, schedule_app, jobs_app, models_app, index_app):
    app.command(commands)


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
    if arguments[:1] in CARRIERS:
        return app(arguments, exit_on_error=False, print_error=False)
    arguments, path = without_config(arguments)
    app.config = fields_of(text_of(path), path) if path else ()
    return app(arguments, exit_on_error=False, print_error=False)


def _say(sentence: str, status: int) -> int:
    events.say(sentence, status=status)
    return status
