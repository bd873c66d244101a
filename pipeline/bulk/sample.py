"""One input on its way through a worker's stages, and the order in which they come out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from recast.pipeline.bulk.operation import Result
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources.further_inputs import Fetched
from recast.pipeline.sources.inputs import Input


@dataclass(slots=True)
class Sample:
    """One input on its way through the stages: bytes, a picture, a result, bytes again, or a fault on the way."""

    item: Input
    place: int
    """Its number in the unit."""
    data: bytes | None = None
    """The encoded image: the input's until it is decoded, and the result's from its encoding on."""
    further: tuple[Fetched, ...] = ()
    """What else a network takes with it, until it is decoded."""
    picture: Picture | None = None
    """The decoded input."""
    result: Result | None = None
    fault: InputError | None = None
    untried: str = ""
    """A fault of storage, or a mistake of ours, not of the image: the input is left for the next run."""
    mistake: str = ""
    """The traceback of a mistake of ours."""
    source_size: tuple[int | None, int | None] = (None, None)


def in_order(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples of a unit as its inputs come, whatever was batched with what: shards are laid out alike each time.

    As many are held in memory as overtake one that waits; the stage that groups them bounds that.
    """
    waiting: dict[int, Sample] = {}
    place = 0
    for sample in samples:
        waiting[sample.place] = sample
        while place in waiting:
            yield waiting.pop(place)
            place += 1
    assert not waiting, "every input of a unit comes out of the stages once"
