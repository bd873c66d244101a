"""How the dataclasses that hold settings are checked when they are made, and where their docstrings are found.

Ranges and docstrings stand beside the fields, once, for Python, the command line and its help alike.
"""

import dataclasses
from types import MappingProxyType
from typing import TypeVar

from pydantic import ConfigDict

T = TypeVar("T")

CHECKED = ConfigDict(extra="forbid", validate_default=True, allow_inf_nan=False, use_attribute_docstrings=True)
"""For `pydantic.dataclasses.dataclass(config=CHECKED)`: values fit their types and ranges, and none is NaN or
infinite."""


def documented(kind: type[T]) -> type[T]:
    """A checked dataclass whose fields carry their docstrings, each as one line, as `help` in their metadata."""
    described = kind.__pydantic_fields__  # type: ignore[attr-defined]  # what pydantic adds to a class has no type
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # a class that is no dataclass raises here
        if text := described[field.name].description:
            field.metadata = MappingProxyType({**field.metadata, "help": " ".join(text.split())})
    return kind
