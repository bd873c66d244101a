"""The folder of results as plain files, one for each input: created, listed, and removed with their rows.

A file's path is its input's, so that a later turn would write where an earlier one did. Hence these rules: the rows of
an input go before its file is written anew; a file is created where there is none; and over what lies there without a
row, left by a run that died, only who holds the lease may write, if it still is what was seen before the look at the
lease.
"""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from recast.pipeline import storage
from recast.pipeline.ahead import ahead
from recast.pipeline.output.file_names import ENDINGS
from recast.pipeline.output.index import FILES, key_hashes
from recast.pipeline.output.lease import NAME as LEASE
from recast.pipeline.output.lease import LeaseError
from recast.pipeline.storage import FileSystem

MARK = ".recast"
"""The file that says whose folder it is; without it nothing in the folder is ever touched."""
MARK_TEXT = b"Recast keeps this folder: pictures here that no row of the index beside it names are removed.\n"
TRIES = 3
HANDS = 8
"""Files written or removed at once."""
LISTED_AT_ONCE = 8192
REMOVED_AT_ONCE = 256
"""Few enough to be gone long before a lease expires."""
MOST_AT_ONCE_BYTES = 100 << 20
"""Larger files are uploaded in parts, which know no condition on what is there."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)

Confirm = Callable[[], None]
"""Raises LeaseError where what is written now would come too late."""


class ForeignFilesError(Exception):
    """The folder that results would go to holds somebody else's files."""

    exit_status = 2


def begin(fs: FileSystem, output: str, *, named: bool) -> None:
    """Make the folder Recast's, before anything is written to it.

    Args:
        named: whether the index names files of it, so that it was made by a run.

    Raises:
        ForeignFilesError: files lie there that no run wrote.
    """
    folder = storage.join(output, FILES)
    if is_ours(fs, output):
        return
    if not named and next(_walk(fs, folder), None):
        raise ForeignFilesError(
            f"{storage.uri(fs, folder)} holds files that Recast did not write, and the results would go there; choose "
            "another output, or another kind of --shards"
        )
    storage.write_bytes(fs, storage.join(folder, MARK), MARK_TEXT)


def is_ours(fs: FileSystem, output: str) -> bool:
    """Whether Recast keeps the folder."""
    with contextlib.suppress(FileNotFoundError):
        fs.info(storage.join(output, FILES, MARK))  # `exists` would take a fault of the network for an answer
        return True
    return False


def ignores_case(fs: FileSystem, output: str) -> bool:
    """Whether an output that is being written lies on a disk that does not tell `A.png` from `a.png`."""
    return storage.is_local(fs) and os.path.exists(os.path.join(output, LEASE.upper()))


def create(fs: FileSystem, folder: str, member: str, data: bytes, confirm: Confirm) -> None:
    """Put a result's file in its place in the folder, whole or not at all.

    Raises:
        LeaseError: somebody else writes there.
    """
    put = _put_here if storage.is_local(fs) else _put_away
    for _ in range(TRIES):
        if put(fs, folder, member, data, confirm):
            return
    raise LeaseError(f"somebody else writes {storage.join(folder, member)} at the same time; this run stops")


def _put_away(fs: FileSystem, folder: str, member: str, data: bytes, confirm: Confirm) -> bool:
    path = storage.join(folder, member)
    with contextlib.suppress(storage.RefusedError):
        storage.write_if(fs, path, data, None)
        return True
    with contextlib.suppress(FileNotFoundError, storage.RefusedError):
        etag = str(fs.info(path).get("ETag") or "").strip('"')
        confirm()  # after the look: who takes the lease later writes something else there, or nothing
        if len(data) < MOST_AT_ONCE_BYTES:
            storage.write_if(fs, path, data, etag)
            return True
        storage.remove(fs, path)
    return False


def _put_here(fs: FileSystem, folder: str, member: str, data: bytes, confirm: Confirm) -> bool:
    path = os.path.join(folder, member)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        _set_aside(folder, _file_above(folder, member), confirm)
        return False
    with _part(folder) as part:
        with open(part, "wb") as file:
            file.write(data)
        if _linked(part, path):
            return True
    _set_aside(folder, path, confirm)
    return False


def _file_above(folder: str, member: str) -> str:
    """The first on the way to a file that is no folder."""
    parts = member.split("/")
    ways = (os.path.join(folder, *parts[:depth]) for depth in range(1, len(parts)))
    return next((way for way in ways if not os.path.isdir(way)), os.path.join(folder, member))


@contextlib.contextmanager
def _part(folder: str) -> Iterator[str]:
    """The name of a file that is not yet, or no longer, a result. It never ends as results do."""
    part = os.path.join(folder, f".{uuid.uuid4().hex[:12]}.part")
    try:
        yield part
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)


def _linked(part: str, path: str) -> bool:
    """Give a finished file its name, if nothing has it. Returns whether that was so."""
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError as fault:
        if fault.errno not in NO_LINKS:
            raise
        if os.path.lexists(path):
            return False
        os.rename(part, path)  # a disk without links: looking and naming are two steps
    return True


def _set_aside(folder: str, path: str, confirm: Confirm) -> None:
    """Remove what a dead run left at a path, unless it is another file by the time that it is moved."""
    with contextlib.suppress(FileNotFoundError):
        seen = os.lstat(path)
        confirm()
        if stat.S_ISDIR(seen.st_mode):
            os.rmdir(path)  # left empty; one that is not says so
            return
        with _part(folder) as aside:
            os.rename(path, aside)
            moved = os.lstat(aside)
            if (moved.st_ino, moved.st_mtime_ns) != (seen.st_ino, seen.st_mtime_ns):
                _linked(aside, path)
                raise LeaseError(f"another run has written {path} meanwhile; this one stops")


def remove(fs: FileSystem, output: str, members: Iterable[str]) -> int:
    """Delete files, and on disks the folders that this leaves empty. Returns how many files there were to delete."""
    folder = storage.join(output, FILES)

    def one(member: str) -> int:
        storage.remove(fs, storage.join(folder, member))
        if storage.is_local(fs):
            _remove_empty(folder, member)
        return 1

    with ThreadPoolExecutor(HANDS, "remove") as pool:
        return sum(ahead(one, members, pool, 2 * HANDS))


def _remove_empty(folder: str, member: str) -> None:
    parts = member.split("/")[:-1]
    with contextlib.suppress(OSError):  # one that isn't empty ends it
        for depth in range(len(parts), 0, -1):
            os.rmdir(os.path.join(folder, *parts[:depth]))


def listed(fs: FileSystem, output: str) -> Iterator[tuple[str, int]]:
    """The path and the size of every file there that may be a result."""
    endings = tuple(ending for several in ENDINGS.values() for ending in several)
    found = _walk(fs, storage.join(output, FILES))
    return ((path, size) for path, size in found if path.lower().endswith(endings))


def sizes(fs: FileSystem, output: str) -> tuple[np.ndarray, np.ndarray]:
    """64-bit hashes of the paths of all files there, sorted, and their sizes: uint64 [N] and int64 [N]."""
    paths, found = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    for batch in _batches(listed(fs, output)):
        paths.append(key_hashes(path for path, _ in batch))
        found.append(np.array([size for _, size in batch], np.int64))
    every = np.concatenate(paths)
    order = np.argsort(every, kind="stable")
    return every[order], np.concatenate(found)[order]


def unnamed(fs: FileSystem, output: str, named: np.ndarray) -> Iterator[list[str]]:
    """Files whose paths' hashes are not among those that rows name, a few at a time; none where the folder is not
    Recast's."""
    for batch in _batches(listed(fs, output) if is_ours(fs, output) else iter(())):
        known = np.isin(key_hashes(path for path, _ in batch), named)
        paths = [path for (path, _), its in zip(batch, known, strict=True) if not its]
        yield from (paths[start : start + REMOVED_AT_ONCE] for start in range(0, len(paths), REMOVED_AT_ONCE))


def _batches(found: Iterator[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """A listing by thousands."""
    batch: list[tuple[str, int]] = []
    for each in found:
        batch.append(each)
        if len(batch) == LISTED_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _walk(fs: FileSystem, folder: str) -> Iterator[tuple[str, int]]:
    """Every file below a folder, with its path there, and its size."""
    if storage.is_local(fs):
        yield from _walk_here(folder)
    elif "s3" in fs.protocol:
        yield from _walk_s3(fs, folder)
    else:
        for path, _, files in fs.walk(folder, detail=True):
            inside = path[len(folder) :].strip("/")
            yield from ((f"{inside}/{name}".lstrip("/"), facts["size"] or 0) for name, facts in files.items() if name)


def _walk_here(folder: str) -> Iterator[tuple[str, int]]:
    for path, _, names in os.walk(folder):
        inside = os.path.relpath(path, folder)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                facts = os.stat(os.path.join(path, name))
                yield (name if inside == "." else f"{inside}/{name}"), facts.st_size


def _walk_s3(fs: FileSystem, folder: str) -> Iterator[tuple[str, int]]:
    """By pages: a request for every thousand objects, and no more of them in memory."""
    bucket, _, prefix = folder.partition("/")
    asked = {"Bucket": bucket, "Prefix": f"{prefix}/"}
    while True:
        page = fs.call_s3("list_objects_v2", **asked)
        for found in page.get("Contents") or ():
            if not found["Key"].endswith("/"):
                yield found["Key"][len(prefix) + 1 :], found["Size"]
        if not page.get("IsTruncated"):
            return
        asked["ContinuationToken"] = page["NextContinuationToken"]
