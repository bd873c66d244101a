"""The members of tar and zip archives, listed from their headers so that workers read each by one ranged read."""

import posixpath
import re
import struct
import tarfile
from collections.abc import Iterator
from typing import Any

from recast.pipeline import storage
from recast.pipeline.sources import passed_over, tar_headers, zip_directory
from recast.pipeline.sources.compressed import is_damage, unpacked
from recast.pipeline.sources.inputs import Input, Keys, Layout, readable
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.storage import FileSystem, StorageError

TAR, ZIP = (".tar",), (".zip",)
COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")
"""These have no random access: listing them is one pass over all their bytes, and so is reading them."""
OTHERS = (".7z", ".rar", ".parquet")
"""Archives of other kinds, where they lie in one."""
DRIVE = re.compile(r"[A-Za-z]:[/\\]")
LARGEST = 1 << 62
"""Sizes and offsets beyond this are nobody's."""

Member = tuple[str, dict[str, Any]]


class NotAnArchiveError(StorageError):
    """A file that isn't the archive its name says."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{readable(url)} {why}")
        self.why = why


def is_archive(path: str) -> bool:
    return path.lower().endswith(TAR + ZIP + COMPRESSED)


def members(
    fs: FileSystem, path: str, prefix: str, *, root: str, over: PassedOver | None = None, keys: Keys | None = None
) -> Iterator[Input]:
    """Inputs of one archive, keyed by `prefix` and their names in it.

    A member that must not be read (a link, a device, a name that leads outside, a name seen before, an archive)
    carries its problem, and so becomes a `failed` row. An archive that can't be read to its end gives what it holds,
    and one such input for itself.

    Args:
        root: what gives the archive's file system again (`storage.root`).
        over: counts droppings and sidecars, which are left out.
        keys: those that other files below the prefix have; none of theirs is given again.

    Raises:
        NotAnArchiveError: a file that isn't the archive its name says.
    """
    url, size = storage.uri(fs, path, root), fs.size(path)
    over, keys = over or PassedOver(), keys or Keys()
    listed = _zip_members(fs, path, url, over) if path.lower().endswith(ZIP) else _tar_members(fs, path, url)
    for name, facts in listed:
        if not over.takes(name):
            continue
        problem = facts.pop("problem", "") or _misplaced(facts, size)
        plain = (posixpath.normpath(name) if name.startswith("./") else name) or "(no name)"
        problem = problem or _unsafe(plain) or _nested(plain)
        key, times = keys.own(plain)
        if times > 1:
            problem = f"duplicate-member: the archive holds this name {times} times; the first one counts"
        yield Input(
            key=prefix + key, root=root, container=path.encode("utf-8", "surrogateescape"), problem=problem, **facts
        )


def _misplaced(facts: dict[str, Any], size: int) -> str:
    """What is wrong with where a member is said to lie; numbers that no file has are taken out of its facts."""
    if not all(0 <= facts[name] < LARGEST for name in ("offset", "length", "size")):
        facts.update(offset=0, length=0, size=0)
        return "corrupt: the member's header tells of more bytes than any file has"
    if facts["layout"] != "compressed-stream" and facts["offset"] + facts["length"] > size:
        return f"truncated: the archive ends at {size:,} bytes, inside this member"
    return ""


def _unsafe(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or DRIVE.match(name):
        return "unsafe-name: the archive member's name leads outside the archive"
    return ""


def _nested(name: str) -> str:
    if name.lower().endswith(TAR + ZIP + COMPRESSED + OTHERS):
        return "unsupported: an archive inside an archive is not opened; unpack the outer one first"
    return ""


def _tar_members(fs: FileSystem, path: str, url: str) -> Iterator[Member]:
    passing = path.lower().endswith(COMPRESSED)
    end = 0
    with unpacked(fs, path) as file:
        listed = tar_headers.members(file, forwards=passing)
        while True:
            try:
                member = next(listed, None)
            except Exception as fault:
                if storage.is_storage_fault(fault) and not is_damage(fault):
                    raise
                if not end:
                    raise NotAnArchiveError(url, _no_tar(fs, path, fault)) from fault
                yield _damaged(path, url, end, f"the tar archive can't be read on: {fault}")
                return
            if member is None:
                break
            if not member.isdir():
                yield readable(member.name), _tar_facts(member, url, "compressed-stream" if passing else "range")
            end = member.offset_data + member.size
        if not passing and end > fs.size(path):
            yield _damaged(
                path, url, end, f"the tar archive ends before its last member does, at {fs.size(path):,} bytes"
            )


def _no_tar(fs: FileSystem, path: str, fault: Exception) -> str:
    return "is empty, not a tar archive" if fs.size(path) == 0 else f"is not a readable tar archive: {fault}"


def _tar_facts(member: tarfile.TarInfo, url: str, layout: Layout) -> dict[str, Any]:
    problem = ""
    if not member.isreg() or member.issparse():
        problem = "not-a-file: the archive member is a link, a device or a sparse file, which are never followed"
    return {
        "source": f"tar://{readable(member.name)}::{readable(url)}",
        "fingerprint": f"tar:{member.offset_data}+{member.size}+{member.chksum}",
        "layout": layout,
        "offset": member.offset_data,
        "length": member.size,
        "size": member.size,
        "problem": problem,
    }


def _damaged(path: str, url: str, end: int, sentence: str) -> Member:
    """The row by which a damaged archive accounts for members that can't be listed."""
    name = readable(path.rpartition("/")[2])
    return name, {
        "source": readable(url),
        "fingerprint": f"damaged:{end}",
        "layout": "file",
        "offset": 0,
        "length": 0,
        "size": 0,
        "problem": f"truncated: {sentence}",
    }


def _zip_members(fs: FileSystem, path: str, url: str, over: PassedOver) -> Iterator[Member]:
    count = 0
    with storage.open_read(fs, path) as file:
        listed = zip_directory.entries(file, fs.size(path))
        while True:
            try:
                entry = next(listed, None)
            except (zip_directory.BadZipError, struct.error) as fault:
                if not count:
                    raise NotAnArchiveError(url, f"is not a readable zip archive: {fault}") from fault
                yield _damaged(path, url, count, f"the zip archive can't be read on: {fault}")
                return
            if entry is None:
                return
            count += 1
            if not _is_folder(entry):
                yield readable(entry.name), _zip_facts(entry, url)
            elif entry.bytes:
                over.add(passed_over.ENDS_IN_SLASH)


def _is_folder(entry: zip_directory.Entry) -> bool:
    """Whether an entry is only there for a folder; Windows' programs write those with a backslash, too."""
    return entry.name.endswith("/") or (entry.name.endswith("\\") and not entry.bytes)


def _zip_facts(entry: zip_directory.Entry, url: str) -> dict[str, Any]:
    layout = {0: "zip-stored", 8: "zip-deflate"}.get(entry.method, "")
    problem = ""
    if entry.mode & 0o170000 not in (0, 0o100000):
        problem = "not-a-file: the archive member is a link or a device, which are never followed"
    elif entry.flags & 1:
        problem = "encrypted: the zip member is encrypted"
    elif not layout:
        problem = f"unsupported: the zip member is packed by method {entry.method}; only 0 and 8 are read"
    return {
        "source": f"zip://{readable(entry.name)}::{readable(url)}",
        "fingerprint": f"crc:{entry.crc:08x}+{entry.bytes}",
        "layout": layout or "zip-stored",
        "offset": entry.offset,
        "length": entry.packed_bytes,
        "size": entry.bytes,
        "crc": entry.crc,
        "problem": problem,
    }
