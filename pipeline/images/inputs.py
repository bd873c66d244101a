"""One input image: what it is called, and where its bytes lie."""

from dataclasses import dataclass
from typing import Literal

Packing = Literal["file", "named", "range", "passing", "zip-stored", "zip-deflate", "parquet"]
"""How a file holds an image: it is one; it is one that a table names and nobody has seen; a range of its bytes is one;
a range of what it unpacks to; a zip member; a row.
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
    holder: bytes
    """URL of the file that holds the bytes; bytes, since a file name need not be UTF-8."""
    packing: Packing = "file"
    """How the holder holds it."""
    offset: int = 0
    """Where the bytes begin; for zip, where the member's local header does; for Parquet, the row."""
    length: int = 0
    """Bytes in the holder."""
    size: int = 0
    """Bytes once unpacked; 0 where only reading tells."""
    column: str = ""
    """Of Parquet: which column has the image; empty where the file has one that is meant."""
    crc: int = -1
    """CRC-32 of the unpacked bytes, where the archive gives one."""
    sha256: str = ""
    """Of the bytes, where a former output's index gives one."""
    alias: str = ""
    """Another name, where its key was changed: the source's, if keys hide it; the output's, if it was brought back."""
    problem: str = ""
    """Why it must not be read, as `kind: sentence`; empty for an ordinary input."""


def readable(name: str) -> str:
    """A file name as valid Unicode: bytes that aren't UTF-8 become `\\xNN`, so that different names stay different."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
