"""Generators of other programs, recognised by their parameters' names and shapes alone, as bundles' networks.

`load` reads a file's tensors and runs nothing of it; `identify` finds the one generator in what was read.
"""

from recast.models.foreign.files import load, read
from recast.models.foreign.registry import identify, recognise

__all__ = ["identify", "load", "read", "recognise"]
