"""Nothing is written over that a command did not make, unless `--replace` says so."""

from collections.abc import Callable

from recast.jobs.specs import SpecError
from recast.pipeline import storage


def new_folder(url: str, *, replace: bool) -> None:
    """Raises SpecError where a folder holds something, or is a file."""
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"reading {url}"):
        if fs.isfile(path):
            raise SpecError(f"{url} is a file, where a folder is to be written; choose another place")
        if not replace and fs.isdir(path) and fs.ls(path, detail=False):
            raise SpecError(f"{url} holds files already; choose another place, or give --replace to write over them")


def new_file(url: str, *, replace: bool, own: Callable[[bytes], bool] | None = None) -> None:
    """Raises SpecError where there is something at a place.

    Args:
        own: tells by the bytes of what is there whether the same command made it, which it may write over.
    """
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"reading {url}"):
        if fs.isdir(path):
            raise SpecError(f"{url} is a folder, where a file is to be written; choose another place")
        if replace or not fs.exists(path):
            return
        if own is None or not own(storage.read_bytes(fs, path)):
            raise SpecError(f"{url} exists already; choose another place, or give --replace to write over it")
