"""What recognisers of foreign checkpoints share: state dicts, what one turned out to be, and how names are read."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from recast.models.descriptor import Descriptor

State = dict[str, Tensor]

SIGNED = (-1.0, 1.0)
COUNTER = "num_batches_tracked"
"""How the names of batch norms' counters end; frozen ones have none."""


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What a checkpoint turned out to be."""

    family: str
    """For people: `RRDBNet (ESRGAN's first form)`."""
    network: str
    arguments: Mapping[str, Any]
    state: State
    """Under our names."""
    descriptor: Descriptor
    note: str = ""
    """What the shapes leave open, for whoever imports it to know."""


def numbers(state: State, pattern: str) -> list[int]:
    """The numbers that a pattern's group takes over all keys, sorted."""
    return sorted({int(found[1]) for key in state if (found := re.match(pattern, key))})


def norm_of(state: State, layer: str, convolution: str) -> str:
    """`batch` where a normalisation has weights; else `instance` where the convolution before it has a bias."""
    if f"{layer}.weight" in state:
        return "batch"
    return "instance" if f"{convolution}.bias" in state else "none"


def without_statistics(state: State) -> State:
    """Instance norms of before torch 0.4 carry running statistics that nothing reads."""
    return {k: v for k, v in state.items() if not re.search(r"\.running_(mean|var)$", k)}


def renamed(state: State, rename: Callable[[str], str]) -> State:
    return {rename(key): tensor for key, tensor in state.items()}


def replaced(key: str, names: Mapping[str, str]) -> str:
    """A key with the first of the prefixes that it has replaced."""
    return next((new + key.removeprefix(old) for old, new in names.items() if key.startswith(old)), key)
