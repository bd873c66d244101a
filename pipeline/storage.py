"""Any place that images and weights lie in, a local path or an fsspec URL, behind the few calls that Recast needs."""

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from typing import Any, TypeAlias

# Object stores other than AWS answer ranged reads and uploads in ways that newer checksum defaults refuse.
os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")

import fsspec
from fsspec.core import url_to_fs

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


def filesystem(url: str, **options: Any) -> tuple[FileSystem, str]:
    """The file system that a local path or URL lies in, and the path within it (no trailing slash).

    Args:
        options: of fsspec's, for the file system; few URLs need any.

    Raises:
        StorageError: an unknown protocol, or one whose package is missing.
    """
    protocol = url.split("://", 1)[0] if "://" in url else "file"
    try:
        fs, path = url_to_fs(url, **({**S3_OPTIONS, **options} if protocol in ("s3", "s3a") else options))
    except (ValueError, ImportError) as fault:
        raise StorageError(f"can't open {url}: {fault}") from fault
    return fs, path.rstrip("/") or path


def is_local(fs: FileSystem) -> bool:
    return "file" in (fs.protocol if isinstance(fs.protocol, (tuple, list)) else (fs.protocol,))


def uri(fs: FileSystem, path: str) -> str:
    """The full URI of a path: `file:///…`, `s3://bucket/…`."""
    return f"file://{path}" if is_local(fs) else fs.unstrip_protocol(path)


def join(path: str, *parts: str) -> str:
    return "/".join([path.rstrip("/"), *parts])


def read_bytes(fs: FileSystem, path: str, offset: int | None = None, length: int | None = None) -> bytes:
    """A whole file, or `length` bytes of it from `offset` on, by one ranged read."""
    if offset is None or length is None:
        return fs.cat_file(path)
    return fs.cat_file(path, start=offset, end=offset + length) if length else b""


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


def is_storage_fault(fault: BaseException) -> bool:
    """Whether an exception speaks of storage (file system, network, credentials) and not of our own mistake."""
    module = type(fault).__module__.split(".")[0]
    return isinstance(fault, OSError) or module in ("botocore", "aiobotocore", "aiohttp", "s3fs", "gcsfs", "adlfs")


def sentence(fault: BaseException) -> str:
    """What a storage exception means, in a few words, without secrets of URLs."""
    return without_secrets(_words(fault))


def _words(fault: BaseException) -> str:
    if isinstance(fault, FileNotFoundError):
        return f"no such file or bucket ({fault})"
    if isinstance(fault, PermissionError):
        return f"permission denied ({fault}); check credentials and policy"
    if type(fault).__name__ == "NoCredentialsError":
        return "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
    if type(fault).__name__ == "EndpointConnectionError":
        return f"the server does not answer ({fault})"
    if isinstance(fault, OSError) and fault.errno == 28:
        return "the storage is full"
    return words(fault)


def open_read(fs: FileSystem, path: str) -> fsspec.spec.AbstractBufferedFile:
    """A seekable file to read; remote ones through a small read-ahead buffer."""
    return fs.open(path, "rb") if is_local(fs) else fs.open(path, "rb", block_size=1 << 20, cache_type="readahead")
