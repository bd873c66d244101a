"""What the names of files say: which endings are an image's, and which are never one's."""

import os

IMAGES = frozenset((
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".ppm", ".pgm",
    ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".mpo", ".ico", ".tga", ".dds", ".heic", ".heif",
))  # fmt: skip
"""They are no part of an image's name."""
SIDECARS = frozenset((
    ".json", ".jsonl", ".ndjson", ".txt", ".text", ".csv", ".tsv", ".xml", ".xmp", ".aae", ".md", ".rst", ".html",
    ".htm", ".css", ".js", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".log", ".nfo", ".url", ".lnk",
    ".webloc", ".cls", ".cls2", ".id", ".index", ".caption", ".captions", ".npy", ".npz", ".pkl", ".pyd", ".pth",
    ".md5", ".sha1", ".sha256", ".sha512", ".sfv", ".pp3", ".dop", ".cos", ".srt", ".vtt", ".gpx", ".sqlite", ".db",
))  # fmt: skip
"""Endings of files that lie beside images and hold no pictures themselves."""
OTHERS = SIDECARS | {
    *(".pdf", ".lock", ".py", ".ipynb", ".sh", ".mat", ".pt", ".ckpt", ".safetensors", ".onnx", ".h5", ".hdf5"),
    *(".mp4", ".mov", ".avi", ".mkv", ".webm", ".wav", ".mp3", ".bak", ".tmp", ".part", ".flist"),
}
"""With what a bulk job takes for an input that fails, so that it has a row, and a training or a measure leaves out."""
HIDDEN = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


def without_ending(key: str) -> str:
    """A key without the ending of an image, if it has one; any other dots are part of the name."""
    stem, dot, ending = key.rpartition(".")
    return stem if stem and not stem.endswith("/") and dot + ending.lower() in IMAGES else key


def is_hidden(key: str) -> bool:
    return any(part.startswith(".") or part in HIDDEN for part in key.split("/"))


def is_no_image(key: str) -> bool:
    """Whether a file's name says that it is no image."""
    return os.path.splitext(key)[1].lower() in OTHERS
