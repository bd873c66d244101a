"""What the names of files say: which endings are an image's, and which are never one's."""

import os

IMAGES = frozenset((
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".ppm", ".pgm",
    ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".mpo", ".ico", ".tga", ".dds", ".heic", ".heif",
))  # fmt: skip
"""They are no part of an image's name."""
OTHERS = frozenset((
    ".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".xmp", ".md", ".rst", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".html", ".htm", ".pdf", ".log", ".lock", ".py", ".ipynb", ".sh", ".mat", ".npy", ".npz", ".pkl", ".pt",
    ".pth", ".ckpt", ".safetensors", ".onnx", ".h5", ".hdf5", ".db", ".sqlite", ".mp4", ".mov", ".avi", ".mkv",
    ".webm", ".wav", ".mp3", ".lnk", ".bak", ".tmp", ".part", ".md5", ".sha256", ".flist",
))  # fmt: skip
"""Of files that nobody takes for images."""
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
