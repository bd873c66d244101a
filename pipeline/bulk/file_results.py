"""What a run into plain files sees to before its workers begin: no two results of one path, and no row of an earlier
result whose file is about to be written anew."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa

from recast.pipeline import storage
from recast.pipeline.bulk.completed import Completed
from recast.pipeline.bulk.units import COMPARED_AT_ONCE
from recast.pipeline.output import plain_files
from recast.pipeline.output.compaction import delete_keys
from recast.pipeline.output.file_names import keys_of, name_problem, path_of
from recast.pipeline.output.index import FILES, key_hashes
from recast.pipeline.output.lease import Lease
from recast.pipeline.sources.inputs import Input
from recast.pipeline.storage import FileSystem

Why = Callable[[str, str, str], str]
"""Key, path and format -> what is wrong with them."""


class SamePathError(Exception):
    """Two results would be one file, or one of them a folder of the other's."""

    exit_status = 2


class FileResults:
    """The files that a run's results are to be. Memory: 8 bytes an input and folder."""

    def __init__(self, fs: FileSystem, output: str, format: str, settled: Completed) -> None:
        """
        Args:
            format: of the results.
            settled: what the output's index tells of before the run.
        """
        self._fs, self._output, self._format, self._settled = fs, output, format, settled
        order = np.argsort(settled.file_paths, kind="stable")
        self._old_paths, self._old_keys = settled.file_paths[order], settled.file_keys[order]
        self._paths, self._folders = HashSet(), HashSet()
        self._last_folder = ""
        self._ignores_case = plain_files.ignores_case(fs, output)

    def begin(self) -> None:
        """Make the folder ready. Raises ForeignFilesError if it is somebody else's."""
        plain_files.begin(self._fs, self._output, named=bool(len(self._settled.with_files)))

    def checked(self, inputs: Iterable[Input]) -> Iterator[Input]:
        """The same inputs. Raises SamePathError where results get into each other's way."""
        left = iter(inputs)
        while chunk := list(islice(left, COMPARED_AT_ONCE)):
            self._check(chunk)
            yield from chunk

    def make_way(self, lease: Lease, chunk: pa.Table) -> None:
        """Remove the rows of earlier results of a chunk's inputs, and then their files: no row ever tells of bytes that
        another result has replaced. If the run is killed, the next one does again what was removed."""
        keys = chunk["key"].to_pylist()
        known = np.isin(key_hashes(keys), self._settled.with_files)
        if going := {key for key, its in zip(keys, known, strict=True) if its}:
            delete_keys(
                self._fs, self._output, lease, lambda several: np.array([key in going for key in several], bool)
            )

    def _check(self, inputs: Sequence[Input]) -> None:
        folder = storage.join(self._output, FILES)
        pairs = [(item.key, path_of(item.key, self._format)) for item in inputs if not item.problem]
        pairs = [(key, path) for key, path in pairs if not name_problem(path, folder)]
        hashes = key_hashes(self._folded(path) for _, path in pairs)
        self._refuse(pairs, self._paths.add(hashes) | self._of_others(pairs), _same)
        above = list(self._new_folders([path for _, path in pairs]))
        above_hashes = key_hashes(map(self._folded, above))
        self._folders.add(above_hashes)
        blocked = self._paths.has(above_hashes) | np.isin(key_hashes(above), self._old_paths)
        self._refuse([("", path) for path in above], blocked, _folder)
        self._refuse(pairs, self._folders.has(hashes), _folder)

    def _folded(self, path: str) -> str:
        """What two paths have in common that the output's disk takes for one."""
        return unicodedata.normalize("NFC", path.casefold()) if self._ignores_case else path

    def _of_others(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """bool for each key and path: whether the index names the path for another key."""
        if not len(self._old_paths):
            return np.zeros(len(pairs), bool)
        keys, paths = key_hashes(key for key, _ in pairs), key_hashes(path for _, path in pairs)
        places = np.minimum(np.searchsorted(self._old_paths, paths), len(self._old_paths) - 1)
        return (self._old_paths[places] == paths) & (self._old_keys[places] != keys)

    def _new_folders(self, paths: Sequence[str]) -> Iterator[str]:
        """The folders that files lie in, and those that these lie in; neighbours' folders but once."""
        for path in paths:
            folder = os.path.dirname(path)
            if folder != self._last_folder:
                self._last_folder = folder
                while folder:
                    yield folder
                    folder = os.path.dirname(folder)

    def _refuse(self, pairs: Sequence[tuple[str, str]], which: np.ndarray, why: Why) -> None:
        for place in np.flatnonzero(which)[:1].tolist():
            key, path = pairs[place]
            clash = why(key, path, self._format) + " (names may differ in case alone)" * self._ignores_case
            raise SamePathError(f"{clash}; leave one of them out (--exclude), or choose another kind of --shards")


def _same(key: str, path: str, format: str) -> str:
    others = " or ".join(other for other in keys_of(path, format) if other != key)
    return f"{key} and {others or 'another input'} would both have the result {FILES}/{path}"


def _folder(key: str, path: str, format: str) -> str:
    keys = " or ".join(keys_of(path, format))
    return f"{FILES}/{path} would be the result of {keys}, and a folder in which other results lie"


class HashSet:
    """Many 64-bit numbers: arrays in order, the longer ones made of the shorter, so that adding stays cheap."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, numbers: np.ndarray) -> np.ndarray:
        """Add numbers, uint64 [N]. Returns bool for each: whether it was there, or came before among these."""
        _, first = np.unique(numbers, return_index=True)
        again = np.ones(len(numbers), bool)
        again[first] = False
        again |= self.has(numbers)
        part = np.sort(numbers)
        while self._parts and len(self._parts[-1]) <= 2 * len(part):
            part = np.union1d(self._parts.pop(), part)
        self._parts.append(part)
        return again

    def has(self, numbers: np.ndarray) -> np.ndarray:
        """bool for each: whether it is there."""
        found = np.zeros(len(numbers), bool)
        for part in self._parts:
            if len(part):
                places = np.minimum(np.searchsorted(part, numbers), len(part) - 1)
                found |= part[places] == numbers
        return found
