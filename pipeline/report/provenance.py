"""Where an output comes from, as far as that decides what a page may show: its jobs, and which sources it may open."""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow.compute as pc

from recast.pipeline import storage, witness
from recast.pipeline.output import index
from recast.pipeline.report.output import Output, part, text
from recast.pipeline.urls import without_secrets

SECRETIVE = ("deidentify", "restore")
"""Jobs whose originals must not leave the archive inside a report."""
MEMBERS = ("tar", "zip", "parquet", "range")
"""Schemes of what lies in a file, as `tar://member::file:///…`."""
READERS = 16
WILDCARDS = set("*?[")


def is_secretive(output: Output) -> bool:
    """Whether any sign says that a de-identification, or a restoration, had a part in an output.

    All manifests, what the index says of the jobs behind its rows, and the rows themselves are asked: runs that were
    interrupted leave no manifest, and the newest one may be of another job. What can't be read counts as a sign.
    """
    if {text(manifest.get("job")) for manifest in _manifests(output)} & {*SECRETIVE, ""}:
        return True
    return any(map(_tells, index.fragments(output.fs, output.root, ["regions"])))


def _tells(fragment: index.Fragment) -> bool:
    if fragment.rows is None:
        return True
    try:
        settings = part(json.loads(fragment.about.get("recast.settings") or "{}"))
    except ValueError:
        return True
    if settings.get("job") in SECRETIVE:
        return True
    actions = pc.struct_field(pc.list_flatten(fragment.rows["regions"]), "action")
    return bool(len(actions) > actions.null_count)


def own_sources(output: Output, vouched: str | None = None) -> tuple[str, ...]:
    """The places whose files may be shown: what the person vouches for, or the sources of their own runs.

    A run is their own if its manifest carries their mark and is of this very output.
    """
    if vouched:
        return _places([vouched])
    found: list[str] = []
    for manifest in _manifests(output):
        urls = part(manifest, "spec", "source").get("urls")
        sources = [text(url) for url in urls] if isinstance(urls, list) else []
        place = text(manifest.get("output"))
        if witness.is_own(manifest.get("witness"), text(manifest.get("run")), place, sources) and _same(output, place):
            found += sources
    return _places(found)


def is_inside(source: str, places: Sequence[str]) -> bool:
    """Whether an index row's `source` is a file in one of the places, or lies in such a file.

    Nothing else that fsspec understands is: no chain of file systems, no way up.
    """
    scheme, _, rest = source.partition("://")
    holder = rest.partition("::")[2] if scheme in MEMBERS else source
    if not holder or "::" in holder or ".." in holder.split("/") or "\0" in holder:
        return False
    return any(holder == place or holder.startswith(f"{place.rstrip('/')}/") for place in places)


def _manifests(output: Output) -> list[Mapping[str, Any]]:
    names = output.names(index.RUNS, ".json")
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda name: output.read_json(f"{index.RUNS}/{name}"), names))


def _same(output: Output, place: str) -> bool:
    return place == output.url or _places([place]) == (storage.uri(output.fs, output.root),)


def _places(urls: Iterable[str]) -> tuple[str, ...]:
    """URLs as rows write them; of a glob the folder above it, and nothing for what can't be opened."""
    found = []
    for url in dict.fromkeys(urls):
        if "::" in url or url != without_secrets(url):
            continue
        try:
            fs, path = storage.filesystem(url)
        except storage.StorageError:
            continue
        parts = path.split("/")
        fixed = next((n for n, name in enumerate(parts) if WILDCARDS & set(name)), len(parts))
        if len([name for name in parts[:fixed] if name]):
            found.append(storage.uri(fs, "/".join(parts[:fixed])))
    return tuple(found)
