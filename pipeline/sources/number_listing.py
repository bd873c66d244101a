"""Points and codes as a source: the rows of a table or an output are inputs of a network that takes no image first."""

import hashlib
from collections.abc import Collection, Iterator
from functools import cached_property

from recast.models.descriptor import NetworkInput
from recast.pipeline import storage
from recast.pipeline.sources.further_inputs import Found, packed
from recast.pipeline.sources.inputs import Input, readable
from recast.pipeline.sources.number_rows import NumberRows, number_rows
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.sources.source_listing import SourceListing
from recast.pipeline.sources.tables import LONGEST_URI, unsafe_name


class NumberListing(SourceListing):
    """What is listed of a source of numbers.

    Raises:
        StorageError: when it is made, if the URL's storage can't be used.
    """

    def __init__(
        self, url: str, output: str = "", schemes: Collection[str] = (), *, each: NetworkInput, alone: bool
    ) -> None:
        """`each`: what the numbers are for; `alone`: see `number_rows`."""
        super().__init__(url, output, schemes)
        self._each, self._alone = each, alone

    def inputs(self, over: PassedOver) -> Iterator[Input]:
        """Every row, in their order; one without numbers that fit is an input with its problem."""
        place = readable(storage.uri(self._fs, self._path, self._root))
        for number, (key, found) in enumerate(self._rows.listed(over)):
            yield self._input(readable(key[:LONGEST_URI]) or f"(row {number})", place, found)

    @cached_property
    def _rows(self) -> NumberRows:
        return number_rows(self._each, self.url, alone=self._alone)

    def _input(self, key: str, place: str, found: Found) -> Input:
        content = found.fingerprint or found.problem
        return Input(
            key=key,
            source=f"row://{key}::{place}",
            fingerprint=f"numbers:{hashlib.sha256(content.encode()).hexdigest()[:32]}",
            container=self._path.encode("utf-8", "surrogateescape"),
            root=self._root,
            layout="numbers",
            further=packed([found.given]) if found.given else "",
            problem=found.problem or unsafe_name(key),
        )
