"""Whether two paths name one place, or one lies within the other, through links and by other names of a scheme."""

import contextlib
import os
from typing import NamedTuple

from recast.pipeline import storage
from recast.pipeline.storage import FileSystem


class Place(NamedTuple):
    """What is equal for all URLs of one place."""

    storage: str
    path: str
    """Without links and slashes at its end."""


def place(fs: FileSystem, path: str) -> Place:
    """Where a path lies."""
    if storage.is_local(fs):
        return Place("file", os.path.realpath(path))
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return Place(storage.PLAIN.get(protocol) or f"{protocol} {fs._fs_token}", path.rstrip("/"))


def same(one: Place, other: Place) -> bool:
    """Whether both are one file or folder."""
    if one == other:
        return True
    if one.storage == other.storage == "file":
        with contextlib.suppress(OSError):
            return os.path.samefile(one.path, other.path)
    return False


def below(inner: Place, outer: Place) -> str:
    """The path that leads from one place down to another; empty where that isn't below it."""
    within = outer.path.rstrip("/") + "/"
    return inner.path.removeprefix(within) if inner.storage == outer.storage and inner.path.startswith(within) else ""
