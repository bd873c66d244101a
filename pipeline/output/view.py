"""An output as a file system: every image a path, so that any tool that reads files through fsspec reads shards."""

import io
import os.path
from collections.abc import Mapping
from typing import Any

from fsspec.spec import AbstractFileSystem

from recast.pipeline import storage
from recast.pipeline.output.index import SHARDS, current

COLUMNS = ("key", "status", "shard", "offset", "length", "format", "sha256", "finished_at")
ENDINGS = {"jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"), "png": (".png",), "webp": (".webp",)}


def path_of(key: str, format: str) -> str:
    """A key as a file name that ends as its format asks: `a.png` stays as it is, `a.jpg` in PNG is `a.jpg.png`."""
    endings = ENDINGS.get(format, (f".{format}",))
    return key if os.path.splitext(key)[1].lower() in endings else key + endings[0]


class OutputFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec publishes no types
    """Read-only. `fsspec.filesystem("recast", fo="s3://bucket/out")`, or `recast://sub/a.png::s3://bucket/out`.

    The index is read once, when the file system is made: later runs show in a new one. Memory: some 500 bytes an image.
    """

    protocol = "recast"
    cachable = False
    root_marker = ""

    def __init__(
        self,
        fo: str = "",
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        url = fo if "://" in fo or not target_protocol else f"{target_protocol}://{fo}"
        self._fs, self._output = storage.filesystem(url, **(target_options or {}))
        self._folders: dict[str, dict[str, dict[str, Any]]] = {"": {}}
        with storage.faults_as_sentences(f"reading {url}"):
            view = current(self._fs, self._output, COLUMNS)
        for batch in view.to_batches(max_chunksize=8192):
            for row in batch.to_pylist():
                if row["status"] == "ok" and row["shard"] is not None:
                    self._add(row)

    def _add(self, row: Mapping[str, Any]) -> None:
        path = path_of(row["key"].strip("/"), row["format"])
        while self._entry(path) is not None:  # `a.jpg` and `a.jpg.png` may both be keys
            stem, ending = os.path.splitext(path)
            path = f"{stem}~{ending}"
        facts = {name: row[name] for name in ("key", "shard", "offset", "sha256")}
        changed = {"created": row["finished_at"], "mtime": row["finished_at"]}
        self._place(path, {"name": path, "size": row["length"], "type": "file", **facts, **changed})

    def _place(self, path: str, entry: dict[str, Any]) -> None:
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = {}
            self._place(folder, {"name": folder, "size": 0, "type": "directory"})
        self._folders[folder][name] = entry

    def _entry(self, path: str) -> dict[str, Any] | None:
        folder, _, name = path.rpartition("/")
        return self._folders.get(folder, {}).get(name)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path).strip("/")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if not path:
            return {"name": "", "size": 0, "type": "directory"}
        entry = self._entry(path)
        if entry is None:
            raise FileNotFoundError(path)
        return entry

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        if path not in self._folders:
            entries = [self.info(path)]
        else:
            entries = [self._folders[path][name] for name in sorted(self._folders[path])]
        return entries if detail else [entry["name"] for entry in entries]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        entry = self.info(path)
        if entry["type"] != "file":
            raise IsADirectoryError(path)
        first, last, _step = slice(start, end).indices(entry["size"])
        place = storage.join(self._output, SHARDS, entry["shard"])
        return storage.read_bytes(self._fs, place, entry["offset"] + first, max(last - first, 0))

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode != "rb":
            raise io.UnsupportedOperation("an output is written by jobs, not through this view of it")
        return io.BytesIO(self.cat_file(path))
