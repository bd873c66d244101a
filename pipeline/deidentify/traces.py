"""What an output tells of how it was de-identified: whether something was sealed, and whether a passcode painted."""

import json
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from recast.pipeline.output.index import fragments
from recast.pipeline.output.sidecars import SEALS, stems_with_sidecars
from recast.pipeline.storage import FileSystem


def sealed_there(fs: FileSystem, output: str) -> str:
    """What is sealed in an output, in words; empty where nothing is, by its seals and by what its index says."""
    if stems := stems_with_sidecars(fs, output, SEALS):
        return f"{SEALS}/ holds {len(stems):,} table{'s' if len(stems) > 1 else ''} of what is sealed"
    if any(sealed_by(fragment.about) for fragment in fragments(fs, output, [])):
        return "its index says that originals or names were sealed"
    return ""


def sealed_by(about: Mapping[str, str]) -> frozenset[str]:
    """What a fragment's metadata says was sealed of its images: `originals`, `names`, both or nothing."""
    settings = json.loads(about.get("recast.settings") or "{}")
    said = {"originals": settings.get("seal") is True, "names": settings.get("names") == "hmac"}
    return frozenset(name for name, sealed in said.items() if sealed)


def painted_there(fs: FileSystem, output: str, actions: Iterable[str]) -> bool:
    """Whether rows of an output tell of regions that were replaced in one of these ways."""
    wanted = pa.array(list(actions), pa.string())
    for fragment in fragments(fs, output, ["regions"]):
        if fragment.rows is not None and len(fragment.rows):
            found = pc.struct_field(pc.list_flatten(fragment.rows["regions"]), "action")
            if pc.any(pc.is_in(found, wanted)).as_py():
                return True
    return False
