"""Any place that images and weights lie in, a local path or an fsspec URL, behind the few calls that Recast needs."""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from typing import Any, TypeAlias

# Object stores other than AWS answer ranged reads and uploads in ways that newer checksum defaults refuse.
os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")

import fsspec
from fsspec.asyn import sync
from fsspec.core import url_to_fs
from fsspec.registry import available_protocols

from recast.pipeline.reasons import words
from recast.pipeline.urls import without_secrets

FileSystem: TypeAlias = Any
"""An `fsspec.AbstractFileSystem`; fsspec publishes no types."""

S3_OPTIONS = {
    "use_listings_cache": False,  # other writers are at work; a remembered listing is a wrong one
    "config_kwargs": {"retries": {"mode": "standard", "max_attempts": 6}, "connect_timeout": 15, "read_timeout": 30},
}


class StorageError(Exception):
    """Storage that can't be used as asked; the message is a sentence for a person, without secrets of URLs."""

    exit_status = 1

    def __init__(self, sentence: str) -> None:
        super().__init__(without_secrets(sentence))


class RefusedError(Exception):
    """A conditional write that the storage refused: the file is another by now, or there is one already."""

    exit_status = 1


PLAIN = {
    **{"file": "file", "local": "file", "memory": "memory", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"},
    **{"az": "az", "abfs": "az", "abfss": "az", "adl": "az", "http": "http", "https": "http", "ftp": "ftp"},
    **{"sftp": "sftp", "ssh": "sftp", "smb": "smb", "hdfs": "hdfs", "webhdfs": "webhdfs"},
}
"""Schemes that lie on no other file system, each with the first of its names. `::` in their URLs is part of a name."""


class NotAFileError(OSError):
    """What lies there is no file that could be read to its end: a folder, a pipe, a socket, a device."""


def filesystem(url: str, **options: Any) -> tuple[FileSystem, str]:
    """The file system that a local path or URL, as a person typed it, lies in, and the path within it (no trailing
    slash). This alone reads `::` as a chain of file systems, where the first of them can stand on another one.

    Args:
        options: of fsspec's, for the file system; few URLs need any.

    Raises:
        StorageError: an unknown protocol, or one whose package is missing.
    """
    if not is_chain(url):
        return unchained(url, **options)
    try:
        fs, path = url_to_fs(url, **options)
    except (ValueError, ImportError, TypeError, OSError) as fault:
        raise StorageError(f"can't open {url}: {fault}") from fault
    return fs, path.rstrip("/") or path


def is_chain(url: str) -> bool:
    """Whether a URL that a person typed names several file systems, each on the next: `zip://*.png::s3://…`."""
    first, separator, _ = url.partition("::")
    scheme = first.split("://", 1)[0]
    return bool(separator) and scheme not in PLAIN and ("://" in first or scheme in available_protocols())


def check_scheme(scheme: str) -> None:
    """Raises StorageError for an unknown protocol, or one whose package is missing."""
    try:
        fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as fault:
        raise StorageError(f"can't open {scheme}:// URLs: {fault}") from fault


def unchained(url: str, **options: Any) -> tuple[FileSystem, str]:
    """As `filesystem`, for a URL that nobody typed: it is never a chain, and `::` in it is part of a name.

    Raises:
        StorageError: an unknown protocol, or one whose package is missing.
    """
    scheme = url.split("://", 1)[0] if "://" in url else "file"
    try:
        kind = fsspec.get_filesystem_class(scheme)
        asked = kind._get_kwargs_from_urls(url)
        fs = fsspec.filesystem(scheme, **(S3_OPTIONS if PLAIN.get(scheme) == "s3" else {}), **{**asked, **options})
        path = str(kind._strip_protocol(url))
    except (ValueError, ImportError, TypeError) as fault:
        raise StorageError(f"can't open {url}: {fault}") from fault
    return fs, path.rstrip("/") or path


def located(uri: str) -> tuple[FileSystem, str]:
    """The file system and path of a file's URI that nobody typed: all of it behind the scheme is the path, if it can.

    Raises:
        StorageError: an unknown protocol, or one whose package is missing.
    """
    scheme, _, path = uri.partition("://")
    plain = PLAIN.get(scheme)
    if plain in ("file", "s3"):
        return unchained(f"{scheme}://")[0], path
    return unchained(uri, **({"allow_redirects": False} if plain == "http" else {}))  # a redirect may lead anywhere


def root(url: str) -> str:
    """What gives the file system of a typed URL again, beside a path that was listed in it: its scheme alone, where
    that is enough, and else the URL.
    """
    fs, _ = filesystem(url)
    if is_local(fs):
        return "file://"
    plain = PLAIN.get(url.split("://", 1)[0])
    return "s3://" if plain == "s3" and not fs.version_aware else "memory://" if plain == "memory" else url


def is_local(fs: FileSystem) -> bool:
    return "file" in (fs.protocol if isinstance(fs.protocol, (tuple, list)) else (fs.protocol,))


def uri(fs: FileSystem, path: str, root: str = "") -> str:
    """The full URI of a path: `file:///…`, `s3://bucket/…`; `zip://…::s3://…`, where `root` is a chain."""
    if is_local(fs):
        return f"file://{path}"
    chain = root.partition("::")[2]
    return f"{fs.unstrip_protocol(path)}::{chain}" if chain else fs.unstrip_protocol(path)


def join(path: str, *parts: str) -> str:
    return "/".join([path.rstrip("/"), *parts])


def read_bytes(fs: FileSystem, path: str, offset: int | None = None, length: int | None = None) -> bytes:
    """A whole file, or `length` bytes of it from `offset` on, by one ranged read."""
    if offset is None or length is None:
        return fs.cat_file(path)
    if not length:
        return b""
    if _hides_a_version(fs, path):
        return _object_range(fs, path, offset, offset + length)
    return fs.cat_file(path, start=offset, end=offset + length)


def _hides_a_version(fs: FileSystem, path: str) -> bool:
    return "?versionId=" in path and "s3" in fs.protocol and not fs.version_aware


def _object_range(fs: FileSystem, path: str, start: int, end: int) -> bytes:
    """A range of an S3 object in whose key s3fs would see the number of a version."""
    bucket, _, key = path.partition("/")

    async def read() -> bytes:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}")
        return await answer["Body"].read()

    return sync(fs.loop, read)


def read_up_to(fs: FileSystem, path: str, most: int, size: int = 0) -> bytes:
    """A whole file, where it has no more than `most` bytes; of a larger one at most one byte more than that.

    Args:
        size: what a listing said, 0 where nobody knows; spares a request.

    Raises:
        NotAFileError: a folder, a pipe, a device: nothing that can be read to an end.
    """
    if is_local(fs):
        with open(path, "rb", opener=_regular) as file:
            return file.read(most + 1)
    if not size and _hides_a_version(fs, path):
        return read_bytes(fs, path, 0, most + 1)
    if size:
        data = read_bytes(fs, path, 0, min(size, most) + 1)
        if len(data) <= size or len(data) > most:
            return data
    facts = fs.info(path)
    if facts.get("type") == "directory":
        raise NotAFileError(f"{path} is a folder")
    if facts.get("size") == 0:
        return b""
    if facts.get("size"):
        return read_bytes(fs, path, 0, min(int(facts["size"]), most) + 1)
    with fs.open(path, "rb") as file:
        return file.read(most + 1)


def _regular(path: str, flags: int) -> int:
    """Open a regular file, without waiting for whoever would write to a pipe."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotAFileError(f"{path} is no regular file, but a folder, a pipe or a device")
    return descriptor


def write_bytes(fs: FileSystem, path: str, data: bytes) -> None:
    """Write a file so that it is there whole or not at all: one PUT, or a temporary file and a rename."""
    if not is_local(fs):
        fs.pipe_file(path, data)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with _renamed_into(path) as part, open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_tagged(fs: FileSystem, path: str, max_bytes: int) -> tuple[bytes, str]:
    """A small file and its ETag, which is empty where the storage has none; a file larger than that comes as empty.

    The tag is asked for first. It is never newer than the bytes, so that a conditional write with it is refused if the
    file changed in between.
    """
    facts = fs.info(path)
    data = fs.cat_file(path) if (facts.get("size") or 0) <= max_bytes else b""
    return data, str(facts.get("ETag") or "").strip('"')


def write_if(fs: FileSystem, path: str, data: bytes, etag: str | None) -> None:
    """One PUT that takes place only if the file still has this ETag; with None, only if there is no file.

    Storage that knows no such conditions takes it as a plain PUT.

    Raises:
        RefusedError: the condition does not hold.
    """
    condition = {"mode": "create"} if etag is None else {"IfMatch": etag} if etag else {}
    try:
        fs.pipe_file(path, data, **condition)
    except Exception as fault:
        if condition and _is_refusal(fault, missing=etag is not None):
            raise RefusedError(f"{path} is another by now") from fault
        if not (condition and _is_unknown(fault)):
            raise
        fs.pipe_file(path, data)


def _is_refusal(fault: Exception, *, missing: bool) -> bool:
    """Whether storage says so that a write's condition does not hold; `missing`: a missing file says so too."""
    response = getattr(fault.__cause__, "response", None) or {}
    refused = response.get("Error", {}).get("Code") in ("PreconditionFailed", "ConditionalRequestConflict", "412")
    return refused or isinstance(fault, FileExistsError) or (missing and isinstance(fault, FileNotFoundError))


def _is_unknown(fault: Exception) -> bool:
    """Whether storage, or the library for it, knows no conditional writes."""
    return isinstance(fault, TypeError) or getattr(fault, "errno", None) == errno.ENOSYS


def upload(fs: FileSystem, local: str, path: str) -> None:
    """Move a finished local file into storage, whole or not at all."""
    if not is_local(fs):
        fs.put_file(local, path)
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with _renamed_into(path) as part:
        fs.put_file(local, part)


@contextlib.contextmanager
def _renamed_into(path: str) -> Iterator[str]:
    folder, name = os.path.split(path)
    part = os.path.join(folder, f".{name[:80]}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def sizes(fs: FileSystem, folder: str) -> dict[str, int]:
    """File names in a folder (not below it) and their sizes in bytes; nothing where there is no such folder."""
    try:
        entries = fs.ls(folder, detail=True)
    except FileNotFoundError:
        return {}
    found = {e["name"].rstrip("/").rsplit("/", 1)[-1]: e["size"] or 0 for e in entries if e["type"] == "file"}
    return {name: size for name, size in found.items() if name and not name.startswith(".")}


def remove(fs: FileSystem, path: str) -> None:
    """Delete a file; fine if it is gone already."""
    with contextlib.suppress(FileNotFoundError):
        fs.rm_file(path)


def abort_uploads(fs: FileSystem, folder: str) -> int:
    """Drop what uploads in parts have left below a folder without coming to an end, where the storage can list that.

    Returns how many there were. Only who is the one writer of the folder, and has no upload under way, may call it.
    """
    if not hasattr(fs, "call_s3"):
        return 0
    bucket, _, prefix = folder.partition("/")
    try:
        found = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/").get("Uploads") or []
        for part in found:
            fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=part["Key"], UploadId=part["UploadId"])
    except Exception as fault:
        if not is_storage_fault(fault):
            raise
        return 0  # a store that can't list them, or forbids it: a lifecycle rule does the same
    return len(found)


@contextlib.contextmanager
def faults_as_sentences(doing: str) -> Iterator[None]:
    """Turn what storage libraries raise into a StorageError that says what could not be done, and why."""
    try:
        yield
    except StorageError:
        raise
    except Exception as fault:
        if not is_storage_fault(fault):
            raise
        raise StorageError(f"{doing} failed: {sentence(fault)}") from fault


STORAGE_LIBRARIES = {
    *("botocore", "aiobotocore", "aiohttp", "s3fs", "fsspec", "gcsfs", "google", "adlfs", "azure"),
    *("requests", "urllib3", "paramiko", "ftplib", "smbprotocol"),
}
"""Packages whose exceptions speak of storage, those that are no OSErrors too."""


def is_storage_fault(fault: BaseException) -> bool:
    """Whether an exception speaks of storage (file system, network, credentials) and not of our own mistake."""
    module = type(fault).__module__.split(".")[0]
    return isinstance(fault, OSError) or module in STORAGE_LIBRARIES


def sentence(fault: BaseException) -> str:
    """What a storage exception means, in a few words, without secrets of URLs."""
    return without_secrets(_words(fault))


def _words(fault: BaseException) -> str:
    if isinstance(fault, FileNotFoundError):
        return f"no such file: {fault.filename}" if fault.filename else f"no such file or bucket ({fault})"
    if isinstance(fault, PermissionError):
        return f"permission denied ({fault}); check credentials and policy"
    if type(fault).__name__ == "NoCredentialsError":
        return "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
    if type(fault).__name__ == "EndpointConnectionError":
        return f"the server does not answer ({fault})"
    if isinstance(fault, OSError) and fault.errno == 28:
        return "the storage is full"
    return words(fault)


def open_read(fs: FileSystem, path: str) -> Any:
    """A seekable file to read; remote ones through a small read-ahead buffer.

    Raises:
        NotAFileError: a folder, a pipe, a device.
    """
    if is_local(fs):
        return open(path, "rb", opener=_regular)
    return fs.open(path, "rb", block_size=1 << 20, cache_type="readahead")
