"""The output that a report is about: its small files, read leniently, whatever version wrote them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recast.pipeline import storage
from recast.pipeline.storage import FileSystem
from recast.pipeline.urls import without_secrets


@dataclass(frozen=True)
class Output:
    """The root of a bulk or training output, on any file system."""

    url: str
    """As the person gave it, but for passwords in it."""
    fs: FileSystem
    root: str
    """Its path on `fs`."""

    @staticmethod
    def at(url: str) -> "Output":
        fs, path = storage.filesystem(url)
        return Output(url=without_secrets(url.rstrip("/") or url), fs=fs, root=path)

    @property
    def name(self) -> str:
        return self.root.rsplit("/", 1)[-1] or self.url

    def path(self, inside: str) -> str:
        return storage.join(self.root, inside)

    def has(self, inside: str) -> bool:
        return bool(self.fs.exists(self.path(inside)))

    def names(self, folder: str, ending: str) -> list[str]:
        """The file names in a folder, sorted; none where there is no such folder."""
        return sorted(name for name in storage.sizes(self.fs, self.path(folder)) if name.endswith(ending))

    def read(self, inside: str, offset: int | None = None, length: int | None = None) -> bytes:
        return storage.read_bytes(self.fs, self.path(inside), offset, length)

    def read_json(self, inside: str) -> dict[str, Any]:
        """A JSON object; empty where the file is missing, half written or something else."""
        try:
            return part(json.loads(self.read(inside)))
        except (FileNotFoundError, ValueError):
            return {}


def part(value: Any, *names: str) -> dict[str, Any]:
    """The object at `names` inside a parsed JSON value, or an empty one."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return dict(value) if isinstance(value, Mapping) else {}


def number(value: Any) -> float | None:
    """A parsed JSON value as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None


def text(value: Any) -> str:
    """A parsed JSON value as text; empty for null and missing."""
    return "" if value is None else str(value)
