"""Bundles where they lie: in a folder, on object storage, or inside the package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recast.models.description import WEIGHTS, Bundle, BundleError, read_description, weights_file
from recast.pipeline import storage

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Packed:
    """A bundle's files as bytes: what travels to the workers, which may not share a disk with the driver."""

    url: str
    description: bytes
    weights: bytes
    parts: Mapping[str, bytes] = field(default_factory=dict)
    """The weights of its further networks, by name."""
    _unpacked: list[tuple[Bundle, "nn.Module"]] = field(default_factory=list, repr=False, compare=False)
    """What was made of the files to check them, for whoever asks first in this process; it does not travel."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Packed, (self.url, self.description, self.weights, self.parts)

    def unpack(self) -> "tuple[Bundle, nn.Module]":
        """The bundle and its generator, checked, in eval mode. Raises BundleError."""
        from recast.models import bundle  # torch: commands that only describe a bundle start without it

        return self._unpacked.pop() if self._unpacked else bundle.read(self.description, self.weights)

    def part(self, name: str) -> "nn.Module":
        """A further network, checked, in eval mode. Raises BundleError."""
        from recast.models import bundle

        return bundle.read_part(read_description(self.description), name, self.parts.get(name, b""))


def describe(url: str) -> Bundle:
    """What a bundle says of itself; its weights are not read.

    Raises:
        BundleError: there is none, or it is damaged.
        StorageError: its place can't be read.
    """
    return read_description(_file(url, "bundle.json"))


def fetch(url: str) -> Packed:
    """A whole bundle, its weights checked against its description. Raises as `describe`."""
    description = _file(url, "bundle.json")
    named = read_description(description).parts
    parts = {name: _file(url, weights_file(name)) for name in named}
    packed = Packed(url, description, _file(url, WEIGHTS), parts)
    packed._unpacked.append(packed.unpack())
    for name in parts:
        packed.part(name)
    return packed


def upload(folder: Path, url: str) -> None:
    """Put a bundle's files in place, the one that marks it as whole last."""
    fs, path = storage.filesystem(url)
    with storage.faults_as_sentences(f"writing the bundle {url}"):
        for name in (*_weights(folder), "README.md", "preview.png", "bundle.json"):
            storage.upload(fs, str(folder / name), storage.join(path, name))


def _weights(folder: Path) -> list[str]:
    """The files of a bundle's weights. Others may lie there, of a bundle that was there before."""
    parts = read_description((folder / "bundle.json").read_bytes()).parts
    return [WEIGHTS, *map(weights_file, parts)]


def _file(url: str, name: str) -> bytes:
    fs, path = storage.filesystem(url)
    try:
        with storage.faults_as_sentences(f"reading the bundle {url}"):
            return storage.read_bytes(fs, storage.join(path, name))
    except storage.StorageError as fault:
        if isinstance(fault.__cause__, (FileNotFoundError, NotADirectoryError)):
            raise BundleError(
                f"{url} is not a bundle: it has no {name}" if fs.exists(path) else f"there is nothing at {url}"
            ) from fault
        raise
