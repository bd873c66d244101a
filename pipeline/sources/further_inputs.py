"""What a network takes besides what SOURCE gives: images, label maps and numbers, joined to a listing by key."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from recast.models.descriptor import InputKind, NetworkInput
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.inputs import Input

JOINED_AT_ONCE = 8192
"""Inputs joined at once."""
NO_INPUT = "no-input"
"""The kind of the row of an input that lacks a further one."""
_USUAL = {field.name: field.default for field in dataclasses.fields(Input)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FurtherInput:
    """One of them, for one image."""

    name: str
    """The network's name for it."""
    kind: InputKind
    place: Input | None = None
    """Where an image or a label map lies."""
    numbers: tuple[float, ...] = ()
    """The numbers of a code; x and y in pixels of each point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a place has for a key."""

    fingerprint: str = ""
    """Identifies the content, as an input's does."""
    given: FurtherInput | None = None
    problem: str = ""
    """Why there is none, as `kind: sentence`."""


class Provider(Protocol):
    """Where one further input of all images comes from."""

    def of(self, keys: Sequence[str]) -> list[Found]: ...


class FurtherInputs:
    """Joins what a network takes besides what SOURCE gives to the inputs of a listing.

    An input's fingerprint then covers all of them. One that lacks any is an input with a problem, which becomes a row.
    """

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        """`providers`: by the inputs' names, in the order in which the network takes them."""
        self._providers = providers

    def __call__(self, items: Iterable[Input]) -> Iterator[Input]:
        left = iter(items)
        while several := list(islice(left, JOINED_AT_ONCE)):
            keys = [item.key for item in several]
            found = zip(*(provider.of(keys) for provider in self._providers.values()), strict=True)
            yield from (self._joined(item, each) for item, each in zip(several, found, strict=True))

    def _joined(self, item: Input, found: Sequence[Found]) -> Input:
        covered = "\n".join(each.fingerprint or each.problem for each in found)
        fingerprint = f"{item.fingerprint}+inputs:{hashlib.sha256(covered.encode()).hexdigest()[:32]}"
        if problem := item.problem or next((each.problem for each in found if each.problem), ""):
            return dataclasses.replace(item, fingerprint=fingerprint, further="", problem=problem)
        given = [*unpacked(item.further), *(each.given for each in found if each.given)]
        picture = _picture(given) if item.layout == "numbers" else None
        if picture is not None and picture.place is not None:
            given.remove(picture)
            item = dataclasses.replace(picture.place, key=item.key, source=item.source)
        return dataclasses.replace(item, fingerprint=fingerprint, further=packed(given))


def _picture(given: Iterable[FurtherInput]) -> FurtherInput | None:
    """The first image or label map: what is read in place of an input that is numbers, and whose size results have."""
    return next((each for each in given if each.place), None)


def wanted(each: NetworkInput) -> str:
    """An input of a network, for people: `pose (image)`."""
    return f"{each.name} ({each.kind})"


def packed(inputs: Iterable[FurtherInput]) -> str:
    """As text in ASCII, which travels in an `Input`."""
    return json.dumps([_stated(each) | {"place": each.place and _stated_place(each.place)} for each in inputs])


def unpacked(text: str) -> list[FurtherInput]:
    """What `packed` wrote."""
    return [
        FurtherInput(**{**each, "place": each["place"] and _place(each["place"]), "numbers": tuple(each["numbers"])})
        for each in (json.loads(text) if text else ())
    ]


def _stated(each: FurtherInput) -> dict[str, Any]:
    return {"name": each.name, "kind": each.kind, "numbers": each.numbers}


def _stated_place(place: Input) -> dict[str, Any]:
    """What is not as it usually is, so that a plan of many inputs stays small."""
    said = {name: value for name, usual in _USUAL.items() if (value := getattr(place, name)) != usual}
    return said | {"container": place.container.decode("utf-8", "surrogateescape")}


def _place(said: Mapping[str, Any]) -> Input:
    return Input(**{**said, "container": said["container"].encode("utf-8", "surrogateescape")})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A further input with its bytes, which an image or a label map has."""

    given: FurtherInput
    data: bytes = b""


def fetched(text: str, max_bytes: int) -> tuple[Fetched, ...]:
    """The further inputs that a text tells of (`packed`), read. Raises as `read` does, naming the input."""
    return tuple(_fetched(each, max_bytes) for each in unpacked(text))


def _fetched(each: FurtherInput, max_bytes: int) -> Fetched:
    if each.place is None:
        return Fetched(each)
    with about(each):
        return Fetched(each, read(each.place, max_bytes))


@contextlib.contextmanager
def about(each: FurtherInput) -> Iterator[None]:
    """Names a further input in what is wrong with it."""
    try:
        yield
    except InputError as fault:
        raise InputError(fault.kind, f"{each.name}: {fault.sentence}") from fault
