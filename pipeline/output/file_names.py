"""What a result is called as a file: its key, with the ending that its format asks for, where that is a safe path."""

import os.path
import re

import pyarrow as pa
import pyarrow.compute as pc

ENDINGS = {"jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"), "png": (".png",), "webp": (".webp",)}
UNSAFE = r"(^|/)(/|$)|(^|[/\\])\.\.?([/\\]|$)|[\x00-\x1f\x7f]|\?versionId="
"""A path that may lead elsewhere: absolute, with empty parts, `.` or `..`, with control characters, or with what object
stores take for a version. Python and Arrow read this expression alike."""
MOST_PART_BYTES = 255
"""The longest name that disks hold."""
MOST_PATH_BYTES = 1024
"""The longest name that object stores hold."""


def path_of(key: str, format: str) -> str:
    """A key as a file name that ends as its format asks: `a.png` stays as it is, `a.jpg` in PNG is `a.jpg.png`."""
    endings = ENDINGS.get(format, (f".{format}",))
    return key if os.path.splitext(key)[1].lower() in endings else key + endings[0]


def keys_of(path: str, format: str) -> tuple[str, ...]:
    """The keys whose results have this path."""
    ending = ENDINGS.get(format, (f".{format}",))[0]
    candidates = (path, path.removesuffix(ending))
    return tuple(key for key in dict.fromkeys(candidates) if key and path_of(key, format) == path)


def name_problem(path: str, folder: str) -> str:
    """Why a result can't be the file of this path in a folder, as `kind: sentence`; empty if it can."""
    if re.search(UNSAFE, path):
        return "unsafe-name: no file can be called so; with --shards tar the result can have any name"
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in path.split("/"))
    if longest > MOST_PART_BYTES:
        return f"name-too-long: a part of the result's name has {longest:,} bytes; {MOST_PART_BYTES} is the most"
    if (length := len(f"{folder}/{path}".encode("utf-8", "surrogatepass"))) > MOST_PATH_BYTES:
        return f"name-too-long: the result's path has {length:,} bytes; {MOST_PATH_BYTES:,} is the most"
    return ""


def all_safe(paths: pa.ChunkedArray) -> bool:
    """Whether none of the paths that an index names leads elsewhere."""
    return not pc.any(pc.match_substring_regex(paths, UNSAFE)).as_py()
