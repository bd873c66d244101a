"""What is to run, and when."""

import re
import shlex
from dataclasses import dataclass

from recast.jobs.schedules.cron import Cron
from recast.pipeline import urls

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?")


class ScheduleError(Exception):
    """A schedule that can't be kept; the message is a sentence for a person."""

    exit_status = 1


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One job, again and again. Runs are incremental, so one that was missed is made up for by the next.

    Raises:
        ScheduleError: a name that not every place would take, or a time that is none.
    """

    name: str
    cron: str
    command: tuple[str, ...]
    """A job and its arguments, as after `recast`."""

    def __post_init__(self) -> None:
        if any(urls.without_secrets(word) != word for word in self.command):
            raise ScheduleError(
                "the command has a password, a token or a signature in a URL, and a schedule writes no secrets down; "
                "put them where their own tools look (~/.config/fsspec/*.json, ~/.aws/credentials)"
            )
        if not NAME.fullmatch(self.name):
            raise ScheduleError(
                f"{self.name!r} can't be a schedule's name: small letters, digits and dashes, at most 42, no dash at "
                "either end"
            )
        try:
            Cron.parsed(self.cron)
        except ValueError as fault:
            raise ScheduleError(str(fault)) from fault

    @property
    def times(self) -> Cron:
        return Cron.parsed(self.cron)

    @property
    def shell(self) -> str:
        """`recast …`, for a shell."""
        return shlex.join(["recast", *self.command])


def named_after(command: tuple[str, ...]) -> str:
    """A name for a schedule that was given none: the job, and the end of where its results go."""
    places = [word for word in command[1:] if not word.startswith("-")]
    last = places[1] if len(places) > 1 else ""
    text = f"{command[0]}-{last.rstrip('/').rpartition('/')[2]}".lower()
    return re.sub(r"[^a-z0-9]+", "-", text)[:42].strip("-")
