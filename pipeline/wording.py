"""How numbers, sizes, times and dates read, on the page and in sentences."""

import math
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from recast.pipeline.events import printable
from recast.pipeline.reasons import plural

UNKNOWN = "–"


def count(value: float | None) -> str:
    """1234567 -> `1,234,567`."""
    return UNKNOWN if value is None else f"{round(value):,}"


def large(value: float | None) -> str:
    """11383427 -> `11.4 M`."""
    if value is None:
        return UNKNOWN
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{significant(value / limit)} {unit}"
    return significant(value)


def significant(value: float | None, digits: int = 3) -> str:
    """Three digits that matter: `0.0123`, `4.57`, `123`, `2.0e-5`."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -4:
        return f"{value:.1e}".replace("e-0", "e-")
    return f"{value:,.{max(0, digits - 1 - size)}f}"


def plainly(value: float) -> str:
    """A round number, as short as can be: `0.25`, `5`, `20k`, `2e-5`."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.6g}{unit}"
    return f"{value:.6g}".replace("e-0", "e-")


def size(value: float | None) -> str:
    """Bytes in decimal units: `812 kB`, `4.57 GB`."""
    if value is None:
        return UNKNOWN
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit:
            return f"{significant(value / limit)} {unit}"
    return f"{round(value)} B"


def duration(seconds: float | None) -> str:
    """`0.42 s`, `38 s`, `4 min 12 s`, `3 h 05 min`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{significant(seconds, 2)} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours:,} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"


def pace(images_per_s: float | None) -> str:
    """In three digits; of what is slow, the time that one takes: `123 images/s`, `4.57 images/s`, `25.4 s/image`."""
    if images_per_s is None or not math.isfinite(images_per_s):
        return UNKNOWN
    if images_per_s < 0.5:
        return f"{1 / max(images_per_s, 1e-9):,.3g} s/image"
    return f"{images_per_s:,.0f} images/s" if images_per_s >= 100 else f"{images_per_s:.3g} images/s"


def enumerated(words: Iterable[str]) -> str:
    """`300`, `300 and 600`, `300, 600 and 900`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def breakable(path: str) -> Markup:
    """A path that may be broken behind its slashes, for a page."""
    return Markup("/<wbr>").join(plain(part) for part in path.split("/"))


def moment(value: Any) -> datetime | None:
    """An ISO time as a UTC datetime; None for what isn't one. A time without a zone is taken as UTC."""
    try:
        parsed = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def date(value: datetime | None) -> str:
    """`20 Nov 2026, 22:15 UTC`."""
    return f"{value.day} {value:%b %Y, %H:%M} UTC" if value else UNKNOWN


def percent(share: float) -> str:
    """`0.4 %`, `12 %`; never 0 % of something, nor 100 % of not everything."""
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    if share < 0.001:
        return "< 0.1 %"
    if share > 0.999:
        return "> 99.9 %"
    return f"{share * 100:.1f} %" if share < 0.1 or share > 0.99 else f"{share * 100:.0f} %"


def plain(value: Any) -> Any:
    """A text as a page may show it: control characters, and what turns the direction of writing, as escapes."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "\n".join(printable(line) for line in value.split("\n"))


FILTERS: dict[str, Callable[..., Any]] = {
    word.__name__: word
    for word in (
        *(count, plural, large, significant, size, duration, pace, moment, date, percent, enumerated, breakable),
    )
}
