"""Cron's five fields: checked, and said in systemd's way."""

import re
from dataclasses import dataclass

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
                f"the schedule {text!r} has {len(fields)} fields; cron has five: minute, hour, day of the month, "
                "month, day of the week (0 2 * * *: daily at two)"
            )
        numbered = tuple(
            ",".join(_part(part, name, low, high) for part in field.lower().split(","))
            for field, (name, low, high) in zip(fields, FIELDS, strict=True)
        )
        return cls(" ".join(numbered), numbered)

    def on_calendar(self) -> list[str]:
        """systemd's OnCalendar expressions, any of which fires. Cron's two kinds of days are either-or where both are
        given; systemd's are both-and, so that takes two."""
        minute, hour, day, month, weekday = self.fields
        time = f"{_spread(hour, 0)}:{_spread(minute, 0)}:00"
        date = f"*-{_spread(month, 1)}-"
        if weekday == "*":
            return [f"{date}{_spread(day, 1)} {time}"]
        named = f"{_weekdays(weekday)} {date}* {time}"
        return [named] if day == "*" else [named, f"{date}{_spread(day, 1)} {time}"]


def _part(part: str, name: str, low: int, high: int) -> str:
    """A star, a number or a range, perhaps with a step, in numbers."""
    found = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", part)
    if not found or (found[1] == "*" and found[2]) or found[3] == "0":
        raise ValueError(f"{part!r} is not a valid {name}")
    first = found[1] if found[1] == "*" else str(_number(found[1], name, low, high))
    last = f"-{_number(found[2], name, low, high)}" if found[2] else ""
    if last and int(last[1:]) < int(first):
        raise ValueError(f"{part!r} is not a valid {name}: it ends before it begins")
    return first + last + (f"/{found[3]}" if found[3] else "")


def _number(text: str, name: str, low: int, high: int) -> int:
    names = {"month": MONTHS, "day of the week": DAYS}.get(name, ())
    number = names.index(text) + low if text in names else int(text) if text.isdecimal() else -1
    if not low <= number <= high:
        raise ValueError(f"{text!r} is not a valid {name}; it must be in {low} to {high}")
    return number


def _spread(field: str, low: int) -> str:
    """`*/15` -> `0/15`, `1-5` -> `1..5`, `1-9/2` -> `1..9/2`."""
    parts = []
    for part in field.split(","):
        span, slash, step = part.partition("/")
        parts.append((str(low) if span == "*" and slash else span.replace("-", "..")) + slash + step)
    return ",".join(parts)


def _weekdays(field: str) -> str:
    """Numbers as names, ranges and steps written out, for Sunday is 0 and 7 here and comes last there."""
    days: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        low, high = (0, 6) if span == "*" else (int(first), int(last) if dash else 6 if step else int(first))
        days |= {day % 7 for day in range(low, high + 1, int(step or 1))}
    return ",".join(DAYS[day].capitalize() for day in sorted(days, key=lambda day: (day - 1) % 7))
