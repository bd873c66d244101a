"""What a run without a cluster has in hand, noted in its output: if that kills the process, the next run knows of it.

A note that lies in an output whose lease is one's own was left by a process that died. On a cluster other processes
outlive a worker and remember for it (`pipeline.bulk.attempts`).
"""

import json

from recast.pipeline import storage
from recast.pipeline.storage import FileSystem

NAME = "in-hand.json"
MAX_BYTES = 1 << 16
UNKNOWN = "an input that its note does not tell"


def note(fs: FileSystem, output: str, run: str, key: str) -> None:
    """Note the key of the input that a run takes up now."""
    storage.write_bytes(fs, storage.join(output, NAME), json.dumps({"run": run, "key": key}).encode())


def left_behind(fs: FileSystem, output: str) -> str:
    """The key that a dead process had in hand; empty if there is no note."""
    try:
        data = storage.read_up_to(fs, storage.join(output, NAME), MAX_BYTES)
    except FileNotFoundError:
        return ""
    try:
        key = json.loads(data)["key"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return UNKNOWN
    return key if isinstance(key, str) and key else UNKNOWN


def clear(fs: FileSystem, output: str) -> None:
    """Remove the note, for nothing is in hand any more."""
    storage.remove(fs, storage.join(output, NAME))
