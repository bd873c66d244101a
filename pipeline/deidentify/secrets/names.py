"""Keys that say nothing: a keyed hash in place of each image's name, and the way back for who has the passcode.

File names hold people's names, and dates. Hidden, an input's key, source and fingerprint become hashes of what they
were; the seals beside each shard hold the names. What else could tell a name or a part of it is left out: sentences
that quote it, endings that are no image format's, addresses and patterns in manifests, kinds that a user made up, and
the order of the listing.
"""

import contextlib
import dataclasses
import hmac
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from recast.pipeline import storage
from recast.pipeline.deidentify.secrets.seal import Secret, derived, opened_text, sealing_key
from recast.pipeline.output.sidecars import SEALS, read_sidecars, stems_with_sidecars
from recast.pipeline.sources.hidden import MARK
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import ClashError

HEX_DIGITS = 32
"""The length of a hidden key: 128 bits, so that no two names share one."""
ENDINGS = frozenset({
    ".apng", ".avif", ".bmp", ".dds", ".dib", ".gif", ".heic", ".heif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe",
    ".jpeg", ".jpf", ".jpg", ".jpx", ".jxl", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif",
    ".tiff", ".webp",
})  # fmt: skip
"""Endings of image formats; any other ending may be a part of a name, and is hidden with it."""

Renames = Callable[[Iterator[Input], bool], Iterator[Input]]
"""A listing -> the same under other keys; the flag says whether this is a run, which may write, or only a look."""


@dataclass(frozen=True)
class HiddenNames:
    """Hashes in place of names, keyed by an output's own key."""

    output: str
    passcode: Secret

    def renamed(self, items: Iterator[Input], run: bool) -> Iterator[Input]:
        """A listing under hidden keys."""
        key = self._key(fresh=run)
        return (_hidden(item, key) for item in items)

    def hidden(self, text: str) -> str:
        """What stands for an address or a pattern in what an output says of itself."""
        return f"{MARK}{_hash(self._key(fresh=False), 'text', text)}"

    def _key(self, *, fresh: bool) -> bytes:
        fs, path = storage.filesystem(self.output)
        secret = sealing_key(fs, path, self.passcode, fresh=fresh)
        return derived(secret or Secret(os.urandom(32)), "names").reveal()


def revealing(output: str, key: Secret) -> Renames:
    """From the keys of a de-identified output back to the names that its seals hold, where they hold any."""

    def renamed(items: Iterator[Input], run: bool) -> Iterator[Input]:
        names = sealed_names(output, key)
        for item in items:
            yield dataclasses.replace(item, key=names[item.key], alias=item.key) if item.key in names else item

    return renamed


def sealed_names(output: str, key: Secret) -> Mapping[str, str]:
    """From key to name. Raises SealError if one was changed."""
    fs, path = storage.filesystem(output)
    names = {}
    for stem in stems_with_sidecars(fs, path, SEALS):
        for seal in read_sidecars(fs, path, SEALS, stem):
            if not seal["box"]:
                names[seal["key"]] = opened_text(key, seal["key"], seal["sealed"])
    return names


@contextlib.contextmanager
def clashes_unnamed() -> Iterator[None]:
    """Say of two inputs with one key that there are such, and not which."""
    try:
        yield
    except ClashError:
        raise ClashError(
            "two inputs have one key; which is not said here, since names are hidden: the same command with "
            "--keys plain --dry-run says it"
        ) from None


def _hidden(item: Input, key: bytes) -> Input:
    ending = PurePosixPath(item.key).suffix.lower()
    return dataclasses.replace(
        item,
        key=_hash(key, "key", item.key) + (ending if ending in ENDINGS else ""),
        source=f"{MARK}{_hash(key, 'source', item.source)}",
        fingerprint=f"{MARK}{_hash(key, 'fingerprint', item.fingerprint)}",
        alias=item.key,
    )


def _hash(key: bytes, of: str, text: str) -> str:
    return hmac.digest(key, f"{of}\n{text}".encode("utf-8", "surrogatepass"), "sha256").hex()[:HEX_DIGITS]
