"""What a run with `--replace` does away with: fragments of other makers, but no results that the run did not reach."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

from recast.pipeline.output.fragment_states import fragment_states
from recast.pipeline.output.index import ModelAndSpec, fragments
from recast.pipeline.storage import FileSystem

Unreached = Callable[[Sequence[str]], np.ndarray]
"""Keys -> bool for each: whether it may be an input's that the run did not come to."""


def replaced(
    fs: FileSystem, output: str, makers: Collection[ModelAndSpec], unreached: Unreached | None
) -> tuple[set[str], int]:
    """The fragments to remove, by name, and how many results of these makers stay.

    Of other makers' fragments those go of which no row is the current result of an input that the run did not reach;
    a failed row is no result.

    Args:
        makers: whose rows were replaced.
        unreached: None where the run came to everything that there is.
    """
    if unreached is None:
        return _made_by(fs, output, makers), 0
    found = fragment_states(fs, output, lambda keys: ~unreached(keys))
    theirs = [state for state in found if state.maker in makers]
    return {state.name for state in theirs if not state.results}, sum(s.results for s in theirs)


def _made_by(fs: FileSystem, output: str, makers: Collection[ModelAndSpec]) -> set[str]:
    """Fragments whose rows are all by these makers."""
    found = set()
    for fragment in fragments(fs, output, ["model", "spec"]):
        if fragment.rows is not None and len(fragment.rows):
            pairs = fragment.rows.group_by(["model", "spec"]).aggregate([])
            if set(zip(pairs["model"].to_pylist(), pairs["spec"].to_pylist(), strict=True)) <= set(makers):
                found.add(fragment.name)
    return found
