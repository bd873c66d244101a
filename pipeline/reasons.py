"""Words for sentences to a person: what an exception of somebody else's says, and how many there are of a thing."""

import os
import re
from collections.abc import Sequence

LONGEST = 600
"""Characters of it that go into a sentence."""
_SILENT: dict[type[BaseException], str] = {
    MemoryError: "there is not enough memory",
    RecursionError: "something is nested too deeply",
    TimeoutError: "nobody answered in time",
}
"""What exceptions that come without a word mean."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def words(fault: BaseException) -> str:
    """The reason that an exception gives, on one line, without the name of its class."""
    if isinstance(fault, OSError) and fault.strerror:
        return f"{_begun_small(fault.strerror)}{_where(fault)}"
    if isinstance(fault, KeyError) and fault.args:
        return f"there is no {fault.args[0]!r} where one belongs"
    lines = [line.strip() for line in _COLOURS.sub("", str(fault)).splitlines() if line.strip()]
    if not lines:
        silent = next((said for kind, said in _SILENT.items() if isinstance(fault, kind)), "")
        return silent or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(fault).__name__).lower()
    first = type(fault).__module__.startswith("ray.")  # whose details follow; others lead up to what they say
    return lines[0 if first else -1][:LONGEST].rstrip(".;: ")


def plural(number: int, noun: str) -> str:
    """`1 image`, `1,204 images`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are: `a, b and 12 more`."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _begun_small(text: str) -> str:
    return text[:1].lower() + text[1:]


def _where(fault: OSError) -> str:
    names = [os.fsdecode(name) for name in (fault.filename, fault.filename2) if isinstance(name, (str, bytes))]
    return f": {' -> '.join(names)}" if names else ""
