"""The output of a bulk job as `recast.open` gives it: rows as a table, images by key, before and after."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from PIL import Image

from recast.jobs.specs import place
from recast.pipeline import storage
from recast.pipeline.bulk.job import BulkSettings
from recast.pipeline.images.decode import decode
from recast.pipeline.output.index import current, current_row, image_bytes
from recast.pipeline.output.rows import SCHEMA
from recast.pipeline.report import output as report_output
from recast.pipeline.report.embed import image_of
from recast.pipeline.report.pairs import read_sources
from recast.pipeline.report.provenance import is_secretive, own_sources
from recast.pipeline.sources.previous_output import is_output

MOST_PIXELS = BulkSettings.max_pixels
"""As jobs take them by default."""


class Output:
    """A bulk job's output. Rows and images are read when they are asked for."""

    def __init__(self, url: str) -> None:
        """Raises FileNotFoundError where there is no output of a bulk job; StorageError where it can't be read."""
        self.url = place(url)
        self._fs, self._path = storage.filesystem(self.url)
        with storage.faults_as_sentences(f"reading {url}"):
            found = is_output(self._fs, self._path)
        if not found:
            raise FileNotFoundError(f"there is no output of a bulk job at {url}")

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """The current rows, one a key, in the index's columns (docs/output-format.md), or some of them."""
        return current(self._fs, self._path, list(columns or SCHEMA.names))

    def keys(self) -> list[str]:
        """The keys of all inputs that have an image, sorted."""
        rows = self.table(["key", "status", "length"]).to_pylist()
        return sorted(row["key"] for row in rows if row["status"] == "ok" and row["length"] is not None)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        """How many inputs there are, the failed and held ones too."""
        return len(self.table(["key"]))

    def row(self, key: str) -> dict[str, Any]:
        """The current row of a key. Raises KeyError."""
        row = current_row(self._fs, self._path, key, SCHEMA.names)
        if row is None:
            raise KeyError(key)
        return row

    def __getitem__(self, key: str) -> Image.Image:
        """The result of a key. Raises KeyError where it has none, with the reason."""
        return opened(self.read(key))

    def read(self, key: str) -> bytes:
        """The image file of a key, as it lies in the output. Raises KeyError where it has none, with the reason."""
        row = self.row(key)
        if row["length"] is None:
            raise KeyError(f"{key}: {row['error'] or 'its result is no image'}")
        with storage.faults_as_sentences(f"reading {self.url}"):
            return image_bytes(self._fs, self._path, row)

    def before(self, key: str) -> Image.Image | None:
        """What a result was made from, as people see it; None where it can't be shown.

        Originals are read from where your own runs on this machine read them, and never where anything tells of a
        de-identification.
        """
        about = report_output.Output.at(self.url)
        if is_secretive(about):
            return None
        source = self.row(key)["source"]
        found = read_sources([source], own_sources(about)).get(source)
        return image_of(decode(found, MOST_PIXELS)) if found else None

    def before_and_after(self, key: str) -> tuple[Image.Image | None, Image.Image]:
        """What a result was made from, where that can be shown, and the result."""
        return self.before(key), self[key]

    def __repr__(self) -> str:
        return f"<recast.Output {self.url}>"


def open(url: str) -> Output:
    """The output of a bulk job, local or at any fsspec URL. Raises as `Output`."""
    return Output(url)


def opened(data: bytes) -> Image.Image:
    """An image file's bytes, read to the end."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
