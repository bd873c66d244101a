"""What a listing meets that becomes no input: counted by kind, so that nothing is left out without a word."""

import re
import threading
from collections import Counter

from recast.pipeline.sources.endings import SIDECARS

DROPPINGS = {
    *(".ds_store", ".localized", "icon\r", ".directory", ".nomedia", ".hidden", ".picasa.ini", "zbthumbnail.info"),
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "folder.ini", "_success", ".keep", ".gitkeep"),
    *(".gitignore", ".gitattributes"),
}
"""Files left behind by file managers and other programs, in lower case."""
DROPPING_FOLDERS = {
    *("__macosx", ".appledouble", ".spotlight-v100", ".trashes", ".fseventsd", ".temporaryitems", ".git"),
    *(".documentrevisions-v100", "@eadir", "$recycle.bin", "system volume information"),
}
"""Folders of such files, in lower case."""
OF_AN_OUTPUT = re.compile(
    r"(^|/)((index|shards|seals|latents)/[0-9a-f]{20}-[0-9a-z-]+\.(parquet|tar)|runs/\d{8}T\d{6}-[0-9a-f]{6}\.json"
    r"|\.recast)$"
)
"""Files of an output of Recast's, by the names it gives them."""

DROPPING, OUTPUT = "dropping", "recast-output"
LINK_TO_FOLDER, DANGLING, SPECIAL, MARKER = "link-to-folder", "dangling-link", "special-file", "folder-marker"
FAILED_BEFORE, HELD_BEFORE, NO_IMAGE = "failed-before", "held-before", "no-image"
ENDS_IN_SLASH, FOLDER, TABLE = "name-ends-in-slash", "matched-folder", "table-without-images"
MEANING = {
    DROPPING: "left behind by file managers (._*, .DS_Store, Thumbs.db, …)",
    OUTPUT: "files of a Recast output inside the source (give the output itself as SOURCE to work on its images)",
    LINK_TO_FOLDER: "links to folders, which are not followed",
    DANGLING: "links to nothing",
    SPECIAL: "pipes, sockets or devices",
    MARKER: "empty objects that stand for folders",
    NO_IMAGE: "results of the source, an output, that are no images but what its index says",
    ENDS_IN_SLASH: "objects with content whose names end in a slash",
    FAILED_BEFORE: "inputs that failed when the source, an output, was made",
    HELD_BEFORE: "images that were held back when the source, an output, was made",
    TABLE: "Parquet tables without a column of images",
    FOLDER: "folders that the glob matches (`**` looks below them)",
}


def reason(name: str) -> str:
    """Why a file of this name, relative to its source, is no input: a kind, or its ending; empty for an input."""
    *folders, last = name.replace("\\", "/").lower().split("/")
    if last.startswith("._") or last in DROPPINGS or not DROPPING_FOLDERS.isdisjoint(folders):
        return DROPPING
    if OF_AN_OUTPUT.search(name):
        return OUTPUT
    stem, dot, ending = last.rpartition(".")
    if ending in ("gz", "zst", "bz2", "xz"):
        stem, dot, ending = stem.rpartition(".")
    return f".{ending}" if stem and dot and f".{ending}" in SIDECARS else ""


class PassedOver:
    """Counts of what a listing met and did not take: endings of sidecars, and kinds of everything else.

    Args:
        by_name: whether files are left out for their names, and tables for having no images; a training has its own
            rule for those.
    """

    def __init__(self, *, by_name: bool = True) -> None:
        self._by_name = by_name
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: str) -> None:
        """Count one; listings do so from several threads."""
        with self._lock:
            self.counts[kind] += 1

    def takes(self, name: str) -> bool:
        """Whether a file of this name is to become an input. If it is not, it is counted."""
        kind = reason(name) if self._by_name else ""
        if kind:
            self.add(kind)
        return not kind

    def takes_table(self) -> bool:
        """Whether a table without images is to become an input, with its problem. If it is not, it is counted."""
        if self._by_name:
            self.add(TABLE)
        return not self._by_name


def sentence(counts: dict[str, int]) -> str:
    """What was passed over, for a person: `37 files that are no images were passed over: 30 .json, 7 .txt`."""
    sidecars = {kind: n for kind, n in counts.items() if kind.startswith(".")}
    said = []
    if sidecars:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in sorted(sidecars.items(), key=lambda pair: (-pair[1], pair[0])))
        total = sum(sidecars.values())
        said.append(f"{total:,} {'file that is' if total == 1 else 'files that are'} no image: {kinds}")
    said += [f"{n:,} {MEANING.get(kind, kind)}" for kind, n in sorted(counts.items()) if kind not in sidecars]
    return f"passed over: {'; '.join(said)}" if said else ""
