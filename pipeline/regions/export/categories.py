"""Numbers for what was found: those that detectors gave, and free ones for what has none."""

from collections.abc import Iterable
from itertools import count

from recast.pipeline.regions.export.annotated import Kind


def numbered_kinds(kinds: Iterable[Kind]) -> dict[Kind, int]:
    """A number for each kind, of which no two kinds share one.

    A detector's own number stays, unless another kind of a name earlier in the alphabet has it, too. A kind without a
    number gets that of its namesake, if there is one, else the least free one from 1.
    """
    ordered = sorted(kinds, key=lambda kind: (kind[1] is None, kind[1] or 0, kind[0]))
    owners: dict[int, str] = {}
    for name, number in ordered:
        if number is not None:
            owners.setdefault(number, name)
    free = (number for number in count(1) if number not in owners)
    named: dict[str, int] = {}
    for number, name in sorted(owners.items(), reverse=True):
        named[name] = number
    numbers: dict[Kind, int] = {}
    for name, number in ordered:
        if number is not None and owners[number] == name:
            numbers[name, number] = number
        else:
            numbers[name, number] = named[name] if name in named else named.setdefault(name, next(free))
    return numbers
