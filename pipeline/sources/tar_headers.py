"""The headers of a tar archive, read one by one by the standard library, with a bound on what a header may take."""

import tarfile
from collections.abc import Iterator
from typing import Any

LONGEST_HEADER_BYTES = 1 << 20
"""The most that a name or extended attributes in blocks of their own may take."""
MOST_GLOBAL_HEADERS = 10_000
MOST_SPARSE_BLOCKS = 4096
STREAM_BLOCK_BYTES = 1 << 18
LOOKED_BEHIND_BYTES = 1 << 20
"""Zeros follow an archive's end, in blocks of up to this size; anything else is looked for no further."""


class HeaderFaultError(Exception):
    """A header that can't be read, and so nothing behind it either."""


class _Header(tarfile.TarInfo):
    """A header that is refused before more is read for it than a name can need."""

    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as fault:  # type: ignore[attr-defined]  # typeshed omits it
            if archive.offset == 0:
                raise
            raise HeaderFaultError(str(fault)) from fault  # the library would take it for the archive's end

    def _proc_member(self, archive: Any) -> Any:
        if self.size < 0:
            raise HeaderFaultError("a member's size is negative")
        return super()._proc_member(archive)  # type: ignore[misc]  # typeshed omits it

    def _proc_gnulong(self, archive: Any) -> Any:
        self._check()
        return super()._proc_gnulong(archive)  # type: ignore[misc]  # typeshed omits it

    def _proc_pax(self, archive: Any) -> Any:
        self._check()
        if len(archive.pax_headers) > MOST_GLOBAL_HEADERS:
            raise HeaderFaultError(f"it has more than {MOST_GLOBAL_HEADERS:,} global attributes")
        return super()._proc_pax(archive)  # type: ignore[misc]  # typeshed omits it

    def _proc_sparse(self, archive: Any) -> Any:
        """Pass over the map of a sparse file, which is never read."""
        _, more, size = self._sparse_structs  # type: ignore[attr-defined]  # typeshed omits it
        for _ in range(MOST_SPARSE_BLOCKS):
            if not more:
                break
            block = archive.fileobj.read(tarfile.BLOCKSIZE)
            more = len(block) == tarfile.BLOCKSIZE and block[504]
        else:
            raise HeaderFaultError("a sparse file has too many pieces")
        self.sparse: Any = []
        self.offset_data = archive.fileobj.tell()
        archive.offset = self.offset_data + self._block(self.size)  # type: ignore[attr-defined]  # typeshed omits it
        self.size = size
        return self

    def _proc_gnusparse_10(self, next: Any, pax_headers: Any, archive: Any) -> None:
        next.sparse = []

    def _check(self) -> None:
        if self.size > LONGEST_HEADER_BYTES:
            raise HeaderFaultError(f"a header of {self.size:,} bytes; at most {LONGEST_HEADER_BYTES:,} are read")


def members(file: Any, *, forwards: bool) -> Iterator[tarfile.TarInfo]:
    """All members, folders too, one by one; what came before isn't kept.

    Raises:
        tarfile.TarError, HeaderFaultError, ValueError, and what unpackers raise: it can't be read, or not on from here.
    """
    mode: Any = "r|" if forwards else "r:"
    with tarfile.open(
        fileobj=file, mode=mode, errors="surrogateescape", bufsize=STREAM_BLOCK_BYTES, tarinfo=_Header
    ) as archive:
        begun = -1
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # typeshed omits it
            if member.offset <= begun or member.size < 0 or archive.offset <= member.offset:
                raise HeaderFaultError("a header leads back to what was read before")
            begun = member.offset
            yield member
        if archive.fileobj.read(LOOKED_BEHIND_BYTES).strip(b"\0"):
            raise HeaderFaultError("more data follows behind the archive's end, another archive perhaps")
