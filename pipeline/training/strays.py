"""What lies among training images and is none of them: sidecars, hidden files, and what Recast itself wrote there."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

from recast.pipeline import storage
from recast.pipeline.reasons import plural
from recast.pipeline.sources.endings import is_hidden, is_no_image
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.passed_over import TABLE

OWN = {
    "run.json": ("bundle/", "checkpoints/", "logs/"),
    "bundle.json": ("bundle.json", "generator.safetensors", "preview.png"),
}
"""What Recast writes beside a file of that name: outputs of trainings, and bundles."""
BULK = ("index/", "shards/", "files/", "runs/", "damaged/", "seals/")
"""The folders of every other output; it has the first at least, and one of the two that follow."""


class Strays:
    """Counts what is left out of the training images, by what it is, with a name of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, kind: str, key: str) -> None:
        self._counts[kind] += 1
        self._first.setdefault(kind, key)

    def said(self) -> tuple[str, ...]:
        """A sentence for each kind."""
        return tuple(
            f"left out {plural(count, 'file')} ({kind}): {self._first[kind]}{' among others' if count > 1 else ''}"
            for kind, count in self._counts.items()
        )


def images_among(inputs: Sequence[Input], url: str, output: str, strays: Strays) -> list[Input]:
    """The inputs that may be training images, going by their names; what is left out is counted.

    Args:
        url: where the inputs come from.
        output: of the training; what lies below it is no example, but for data that lie in an output's folder.
    """
    written = _written({item.key for item in inputs})
    below = _below(output, url)
    kept = []
    for item in inputs:
        if below(item):
            strays.add("this training's own output", item.key)
        elif item.key.startswith(written):
            strays.add("outputs of Recast", item.key)
        elif is_hidden(item.key):
            strays.add("hidden", item.key)
        elif is_no_image(item.key):
            strays.add("no images by their names", item.key)
        elif item.problem.startswith(f"{TABLE}:"):
            strays.add("tables without images", item.key)
        else:
            kept.append(item)
    return kept


def _written(keys: set[str]) -> tuple[str, ...]:
    """What the keys of Recast's outputs among these begin with."""
    found: list[str] = []
    folders = {f"{key.rpartition('/')[0]}/".lstrip("/") for key in keys}
    for marker, names in OWN.items():
        for key in keys:
            home = key.removesuffix(marker)
            if home != key and (not home or home.endswith("/")):
                beside = [f"{home}{name}" for name in names]
                if any(folder.startswith(tuple(beside)) for folder in folders) or not keys.isdisjoint(beside):
                    found += beside
    homes = [{f[: -len(name)] for f in _above(folders) if f"/{f}".endswith(f"/{name}")} for name in BULK[:3]]
    for home in homes[0] & (homes[1] | homes[2]):
        found += [f"{home}{name}" for name in BULK]
    return tuple(found)


def _above(folders: set[str]) -> set[str]:
    """These folders and all that they lie in, each with a slash at its end."""
    found = set()
    for folder in folders:
        parts = folder.split("/")[:-1]
        found |= {"/".join(parts[:n]) + "/" for n in range(1, len(parts) + 1)}
    return found


def _below(output: str, url: str) -> Callable[[Input], bool]:
    """Whether an input lies in a training's output, by whatever links."""
    if not output:
        return lambda item: False
    (fs, path), (_, data) = storage.filesystem(output), storage.filesystem(url)
    if not storage.is_local(fs):
        homes = _homes(f"{path}/", f"{data}/")
        return lambda item: item.container.decode("utf-8", "surrogateescape").startswith(homes)
    real = cache(os.path.realpath)
    homes_here = _homes(f"{os.path.realpath(path)}/", f"{os.path.realpath(data)}/")

    def lies(item: Input) -> bool:
        container = item.container.decode("utf-8", "surrogateescape")
        return item.root == "file://" and f"{real(os.path.dirname(container))}/".startswith(homes_here)

    return lies


def _homes(output: str, data: str) -> tuple[str, ...]:
    """What a training writes: all of its output's folder, unless that is where the data lie."""
    return tuple(f"{output}{name}" for name in OWN["run.json"]) if data.startswith(output) else (output,)
