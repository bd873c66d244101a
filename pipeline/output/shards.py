"""A tar shard in the making: images appended one by one, each one's place known, the whole put in storage at once."""

import hashlib
import io
import re
import tarfile
import tempfile
from dataclasses import dataclass
from types import TracebackType

from pipeline import storage
from pipeline.storage import FileSystem

BLOCK = 512


@dataclass(frozen=True, slots=True)
class Place:
    """Where an image's bytes lie in its shard."""

    member: str
    offset: int
    length: int
    sha256: str


def member_name(key: str, extension: str) -> str:
    """A tar member's name for a key: readable, plain ASCII, one dot, and different for different keys.

    Readers that split names at the first dot (WebDataset) see one sample for each image; none is merged or cut.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", key).strip("_")[-48:]
    return f"{plain}-{hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}.{extension}"


class TarShard:
    """Collects images in a temporary file; `commit` puts it in storage, leaving without that drops it."""

    def __init__(self) -> None:
        self._file = tempfile.NamedTemporaryFile(prefix="recast-", suffix=".tar")  # noqa: SIM115 (closed by __exit__)
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self.images = 0

    @property
    def length(self) -> int:
        """Bytes so far, without the end of the archive."""
        return self._tar.offset

    def add(self, key: str, image: bytes, extension: str) -> Place:
        info = tarfile.TarInfo(member_name(key, extension))
        info.size = len(image)  # no time, no owner: the same images make the same shard
        offset = self._tar.offset + BLOCK
        self._tar.addfile(info, io.BytesIO(image))
        self.images += 1
        return Place(info.name, offset, len(image), hashlib.sha256(image).hexdigest())

    def commit(self, fs: FileSystem, path: str) -> int:
        """Put the finished archive at `path`. Returns its length in bytes."""
        self._tar.close()
        self._file.flush()
        storage.upload(fs, self._file.name, path)
        return self._file.seek(0, io.SEEK_END)

    def __enter__(self) -> "TarShard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
