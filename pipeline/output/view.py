"""An output as a file system: every image a path, so that any tool that reads files through fsspec reads shards."""

import io
import os.path
from collections.abc import Mapping
from typing import Any

from fsspec.implementations.reference import ReferenceFileSystem

from recast.pipeline import storage
from recast.pipeline.output.file_names import path_of
from recast.pipeline.output.index import PLACE, current, place_of
from recast.pipeline.storage import FileSystem

COLUMNS = ("key", "status", *PLACE, "format")


class OutputFileSystem(ReferenceFileSystem):  # type: ignore[misc]  # fsspec publishes no types
    """Read-only. `fsspec.filesystem("recast", fo="s3://bucket/out")`, or `recast://sub/a.png::s3://bucket/out`.

    The index is read once, when the file system is made: later runs show in a new one. Memory: some 500 bytes an image.
    """

    protocol = "recast"
    cachable = False

    def __init__(
        self,
        fo: str = "",
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        url = fo if "://" in fo or not target_protocol else f"{target_protocol}://{fo}"
        fs, output = storage.filesystem(url, **(target_options or {}))
        with storage.faults_as_sentences(f"reading {url}"):
            places = _places(fs, output)
        super().__init__(places, fs=fs, **options)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode != "rb":
            raise io.UnsupportedOperation("an output is written by jobs, not through this view of it")
        return io.BytesIO(self.cat_file(path))


def _places(fs: FileSystem, output: str) -> dict[str, list[Any]]:
    """Where the bytes of each path lie: the URL of a shard or file, offset and length."""
    found: dict[str, list[Any]] = {}
    for batch in current(fs, output, COLUMNS).to_batches(max_chunksize=8192):
        for row in batch.to_pylist():
            place = place_of(row)
            if row["status"] != "ok" or place is None:
                continue
            path = path_of(row["key"].strip("/"), row["format"])
            while path in found:  # `a.jpg` and `a.jpg.png` may both be keys
                stem, ending = os.path.splitext(path)
                path = f"{stem}~{ending}"
            url = fs.unstrip_protocol(storage.join(output, place.path))
            found[path] = [url, place.offset, place.length]
    return found
