"""The members of tar and zip archives, listed from their headers so that workers read each by one ranged read."""

import posixpath
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from typing import Any

from recast.pipeline import storage
from recast.pipeline.images.compressed import is_damage, unpacked
from recast.pipeline.images.inputs import Input, Packing, readable
from recast.pipeline.storage import FileSystem, StorageError

TAR, ZIP = (".tar",), (".zip",)
COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")
"""These have no random access: listing them is one pass over all their bytes, and so is reading them."""
DROPPINGS = ("__MACOSX/",)
STREAM_BLOCK_BYTES = 1 << 18


class NotAnArchiveError(StorageError):
    """A file that isn't the archive its name says."""


def is_archive(path: str) -> bool:
    return path.lower().endswith(TAR + ZIP + COMPRESSED)


def members(fs: FileSystem, path: str, prefix: str) -> Iterator[Input]:
    """Inputs of one archive, keyed by `prefix` and their names in it.

    A member that must not be read (a link, a device, a name that leads outside, a name seen before) carries its
    problem, and so becomes a `failed` row. An archive that ends early gives what it holds, and one such input for
    itself.

    Raises:
        NotAnArchiveError: a file that isn't the archive its name says.
    """
    url, size = storage.uri(fs, path), fs.size(path)
    listed = _zip_members(fs, path, url) if path.lower().endswith(ZIP) else _tar_members(fs, path, url)
    seen: dict[str, int] = {}
    for name, facts in listed:
        if name.startswith(DROPPINGS):
            continue
        if facts["packing"] != "passing" and not 0 <= facts["offset"] <= facts["offset"] + facts["length"] <= size:
            facts["problem"] = facts["problem"] or f"truncated: the archive ends at {size:,} bytes, inside this member"
        plain = (posixpath.normpath(name) if name.startswith("./") else name) or "(no name)"
        seen[plain] = seen.get(plain, 0) + 1
        problem = facts.pop("problem", "") or _unsafe(plain)
        if seen[plain] > 1:
            problem = f"duplicate-member: the archive holds this name {seen[plain]} times; the first one counts"
            plain = f"{plain}#{seen[plain]}"
        yield Input(key=prefix + plain, holder=url.encode("utf-8", "surrogateescape"), problem=problem, **facts)


def _unsafe(name: str) -> str:
    parts = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return "unsafe-name: the archive member's name leads outside the archive"
    return ""


def _tar_members(fs: FileSystem, path: str, url: str) -> Iterator[tuple[str, dict[str, Any]]]:
    passing = path.lower().endswith(COMPRESSED)
    end = 0
    with unpacked(fs, path) as file:
        try:
            mode: Any = "r|" if passing else "r:"
            tar = tarfile.open(fileobj=file, mode=mode, errors="surrogateescape", bufsize=STREAM_BLOCK_BYTES)  # noqa: SIM115 (closed below)
        except Exception as fault:
            if not (isinstance(fault, tarfile.TarError) or is_damage(fault)):
                raise
            why = "is empty, not a tar archive" if fs.size(path) == 0 else f"is not a readable tar archive: {fault}"
            raise NotAnArchiveError(f"{readable(url)} {why}") from fault
        with tar:
            while True:
                try:
                    member = tar.next()
                except Exception as fault:
                    if not (isinstance(fault, (tarfile.TarError, ValueError)) or is_damage(fault)):
                        raise
                    yield _damaged(path, url, end, f"the tar archive can't be read on: {fault}")
                    return
                if member is None:
                    break
                tar.members.clear()  # type: ignore[attr-defined]  # a tar of millions of images must not be remembered member by member
                if not member.isdir():
                    yield readable(member.name), _tar_facts(member, url, "passing" if passing else "range")
                end = member.offset_data + member.size
        if not passing and end > fs.size(path):
            yield _damaged(
                path, url, end, f"the tar archive ends before its last member does, at {fs.size(path):,} bytes"
            )


def _tar_facts(member: tarfile.TarInfo, url: str, packing: Packing) -> dict[str, Any]:
    problem = ""
    if not member.isreg() or member.issparse():
        problem = "not-a-file: the archive member is a link, a device or a sparse file, which are never followed"
    return {
        "source": f"tar://{readable(member.name)}::{readable(url)}",
        "fingerprint": f"tar:{member.offset_data}+{member.size}+{member.chksum}",
        "packing": packing,
        "offset": member.offset_data,
        "length": member.size,
        "size": member.size,
        "problem": problem,
    }


def _damaged(path: str, url: str, end: int, sentence: str) -> tuple[str, dict[str, Any]]:
    """The row by which a damaged archive accounts for members that can't be listed."""
    name = readable(path.rpartition("/")[2])
    return name, {
        "source": readable(url),
        "fingerprint": f"damaged:{end}",
        "packing": "file",
        "offset": 0,
        "length": 0,
        "problem": f"truncated: {sentence}",
    }


def _zip_members(fs: FileSystem, path: str, url: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with storage.open_read(fs, path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError) as fault:
            raise NotAnArchiveError(f"{readable(url)} is not a readable zip archive: {fault}") from fault
        with archive:
            for member in archive.infolist():
                if not member.filename.endswith("/"):
                    yield readable(member.filename), _zip_facts(member, url)


def _zip_facts(member: zipfile.ZipInfo, url: str) -> dict[str, Any]:
    packing = {zipfile.ZIP_STORED: "zip-stored", zipfile.ZIP_DEFLATED: "zip-deflate"}.get(member.compress_type, "")
    problem = ""
    if (member.external_attr >> 16) & 0o170000 not in (0, 0o100000):
        problem = "not-a-file: the archive member is a link or a device, which are never followed"
    elif member.flag_bits & 1:
        problem = "encrypted: the zip member is encrypted"
    elif not packing:
        problem = f"unsupported: the zip member is packed by method {member.compress_type}; only 0 and 8 are read"
    return {
        "source": f"zip://{readable(member.filename)}::{readable(url)}",
        "fingerprint": f"crc:{member.CRC:08x}+{member.file_size}",
        "packing": packing or "zip-stored",
        "offset": member.header_offset,
        "length": member.compress_size,
        "size": member.file_size,
        "crc": member.CRC,
        "problem": problem,
    }
