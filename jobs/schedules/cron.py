"""Cron's five fields: checked, and said in systemd's way."""

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass

from cronsim import CronSim, CronSimError

from recast.pipeline.reasons import plural

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
BEGINNING = datetime.datetime(2000, 1, 1)
"""A time to count from, which nothing here depends on."""


@dataclass(frozen=True)
class Cron:
    """When: minute, hour, day of the month, month, day of the week, as crontab(5) has them."""

    text: str
    fields: tuple[str, ...]

    @classmethod
    def parsed(cls, text: str) -> "Cron":
        """Raises ValueError, in a sentence, for what no cron would take."""
        fields = MACROS.get(text.strip().lower(), text).split()
        if len(fields) != len(FIELDS):
            raise ValueError(
                f"the schedule {text!r} has {plural(len(fields), 'field')}; cron has five: minute, hour, day of the "
                "month, month, day of the week (0 2 * * *: daily at two)"
            )
        numbered = tuple(
            ",".join(_part(part, position) for part in field.lower().split(","))
            for position, field in enumerate(fields)
        )
        if not _taken(" ".join(numbered)):
            raise ValueError(f"the schedule {text!r} never comes due: none of its months has such a day")
        return cls(" ".join(numbered), numbered)

    def on_calendar(self) -> list[str]:
        """systemd's OnCalendar expressions, any of which fires. Cron's two kinds of days are either-or where both are
        given without a star; systemd's are both-and, so that takes two."""
        minute, hour, day, month, weekday = self.fields
        time = f"{_spread(hour, 0)}:{_spread(minute, 0)}:00"
        date = f"*-{_spread(month, 1)}-"
        cron = CronSim(self.text, BEGINNING)
        named = "" if weekday == "*" else f"{_weekdays(day for day in cron.weekdays if isinstance(day, int))} "
        if cron.day_and:
            return [f"{named}{date}{_spread(day, 1)} {time}"]
        return [f"{named}{date}* {time}", f"{date}{_spread(day, 1)} {time}"]


def _part(part: str, position: int) -> str:
    """One part of the field at a position, its words as numbers."""
    name, low, high = FIELDS[position]
    words = {"month": MONTHS, "day of the week": DAYS}.get(name, ())
    numbered = re.sub(r"[a-z]+", lambda word: str(words.index(word[0]) + low) if word[0] in words else word[0], part)
    alone = " ".join(numbered if place == position else "*" for place in range(len(FIELDS)))
    if re.fullmatch(r"[\d*/-]+", numbered) and _taken(alone):
        return numbered
    if re.fullmatch(r"\w+", part):
        raise ValueError(f"{part!r} is not a valid {name}; it must be in {low} to {high}")
    span = re.match(r"(\d+)-(\d+)", numbered)
    turned = ": it ends before it begins" if span and int(span[1]) > int(span[2]) else ""
    raise ValueError(f"{part!r} is not a valid {name}{turned}")


def _taken(expression: str) -> bool:
    """Whether cron takes five fields of numbers, and they come to pass at some time."""
    try:
        CronSim(expression, BEGINNING)
    except CronSimError:
        return False
    return True


def _spread(field: str, low: int) -> str:
    """`*/15` -> `0/15`, `1-5` -> `1..5`, `1-9/2` -> `1..9/2`."""
    parts = []
    for part in field.split(","):
        span, slash, step = part.partition("/")
        parts.append((str(low) if span == "*" and slash else span.replace("-", "..")) + slash + step)
    return ",".join(parts)


def _weekdays(days: Iterable[int]) -> str:
    """Numbers as names, for Sunday is 0 and 7 here and comes last there."""
    return ",".join(DAYS[day].capitalize() for day in sorted({day % 7 for day in days}, key=lambda day: (day - 1) % 7))
