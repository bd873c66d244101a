"""One input image: what it is called, and where its bytes lie."""

import re
from dataclasses import dataclass
from typing import Literal

from recast.pipeline import storage
from recast.pipeline.storage import FileSystem

Layout = Literal["file", "named", "range", "compressed-stream", "zip-stored", "zip-deflate", "parquet", "numbers"]
"""How a file holds an image: it is one; it is one that a table names and nobody has seen; a range of its bytes is one;
a range of what it unpacks to; a zip member; a row. Or it holds none: the input is numbers, which travel in `further`.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An image to be processed; found by listing, not yet read."""

    key: str
    """Its path relative to the source root, with its extension; or what stands for that in the output."""
    source: str
    """Full URI: `s3://…`, `file://…`, `tar://member::s3://…`, `zip://member::…`, `parquet://row::…`."""
    fingerprint: str
    """Identifies the content without reading it."""
    container: bytes
    """Path of the file that holds the bytes, as its listing had it, in the file system of `root`; bytes, since a file
    name need not be UTF-8. Empty where `root` names the file itself.
    """
    root: str = "file://"
    """URL that gives the file system: what a person typed, or its scheme where that is enough. Only that is ever read
    as a chain of file systems; `container` is not."""
    layout: Layout = "file"
    """How the holder holds it."""
    offset: int = 0
    """Where the bytes begin; for zip, where the member's local header does; for Parquet, the row."""
    length: int = 0
    """Bytes in the holder."""
    size: int = 0
    """Bytes once unpacked; 0 where only reading tells."""
    column: str = ""
    """The column of a Parquet file that has the image; empty where the file has one that is meant."""
    crc: int = -1
    """CRC-32 of the unpacked bytes, where the archive gives one."""
    sha256: str = ""
    """Digest of the bytes, where a previous output's index gives one."""
    stem: str = ""
    """The name, without ending, of what a previous output has beside its shard or file: its fragment, and its seals."""
    alias: str = ""
    """Another name, where its key was changed: the source's, if keys hide it; the output's, if it was brought back."""
    further: str = ""
    """What else a network takes with it, or of an input without an image all of it, as `further_inputs.packed` writes
    it; empty where that is nothing."""
    problem: str = ""
    """Why it must not be read, as `kind: sentence`; empty for an ordinary input."""

    def place(self) -> tuple[FileSystem, str]:
        """The file system and path of the file that holds the bytes.

        Raises:
            StorageError: an unknown protocol, or one whose package is missing.
        """
        if not self.container:
            return storage.located(self.root)
        return storage.filesystem(self.root)[0], self.container.decode("utf-8", "surrogateescape")


def readable(name: str) -> str:
    r"""A file name as valid Unicode: bytes that aren't UTF-8 become `\xNN`, and so does a backslash that such a code
    seems to follow already; different names stay different.
    """
    plain = _LOOKS_ESCAPED.sub(r"\\x5cx", name)
    return plain.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def unreadable(text: str) -> str:
    """The file name that `readable` gave a text for."""
    plain = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8", "surrogateescape"))
    return plain.decode("utf-8", "surrogateescape")


_LOOKS_ESCAPED = re.compile(r"\\x(?=[0-9a-f]{2})")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


class Keys:
    """The keys that an archive or a table gave so far, so that each of its names gets one of its own."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}
        self._numbered: set[str] = set()

    def own(self, name: str) -> tuple[str, int]:
        """The name, or where that is taken the name with a number; and how often the name has come by now."""
        times = self._times[name] = self._times.get(name, 0) + 1
        if times == 1 and name not in self._numbered:
            return name, times
        number = max(times, 2)
        while (key := f"{name}#{number}") in self._times or key in self._numbered:
            number += 1
        self._numbered.add(key)
        return key, times
