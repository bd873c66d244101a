"""What a training leaves behind to look at: run.json, scalars, sample grids, TensorBoard events; on any storage."""

import datetime
import io
import json
import os
import tempfile
import time
from typing import Any

import numpy as np
from PIL import Image

from recast.pipeline import storage
from recast.pipeline.training.settings import TrainingError

FORMAT = "recast-training/1"
FLUSH_EVERY_S = 15
"""A segment is written anew each time (object storage can't append), so not at every line…"""
SEGMENT_LINES = 2_000
"""…and a long training's lines go to several."""


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_run(output: str) -> dict[str, Any]:
    """An output's run.json; empty where there is none.

    Raises:
        TrainingError: a file of that name is there and not of a training: it would be written over.
    """
    fs, root = storage.filesystem(output)
    path = storage.join(root, "run.json")
    try:
        run = json.loads(storage.read_bytes(fs, path))
    except FileNotFoundError:
        return {}
    except ValueError:
        run = None
    if not isinstance(run, dict) or not str(run.get("format", "")).startswith("recast-training/"):
        raise TrainingError(
            f"{storage.uri(fs, path)} is of no training of Recast's; move it away, or give another --output"
        )
    return run


def write_run(output: str, run: dict[str, Any]) -> None:
    fs, root = storage.filesystem(output)
    storage.write_bytes(fs, storage.join(root, "run.json"), json.dumps({"format": FORMAT, **run}, indent=2).encode())


class TrainingLog:
    """The folder `logs/` of a training output, written by one worker.

    Args:
        scratch: a folder for what is on its way to the output; by default that of all temporary files.
    """

    def __init__(self, output: str, scratch: str | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter  # takes seconds to import; the driver never needs it

        self._fs, root = storage.filesystem(output)
        self._folder = storage.join(root, "logs")
        self._lines: list[str] = []
        self._first_step = -1
        self._flushed_at = time.monotonic()
        self._events_folder = tempfile.TemporaryDirectory(prefix="recast-", dir=scratch)
        self._events = SummaryWriter(self._events_folder.name)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Add a line. It is in storage after the next flush, which comes by itself every now and then."""
        if self._first_step < 0 or len(self._lines) >= SEGMENT_LINES:
            self._write_segment()
            self._lines, self._first_step = [], step
        self._lines.append(json.dumps({"step": step, "time": now(), **values}))
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        if time.monotonic() - self._flushed_at > FLUSH_EVERY_S:
            self.flush()

    def samples(self, step: int, grid: Image.Image) -> bytes:
        """Keep a sample grid; returns it as PNG."""
        png = as_png(grid)
        storage.write_bytes(self._fs, storage.join(self._folder, "samples", f"step-{step:08d}.png"), png)
        self._events.add_image("samples", np.asarray(grid), step, dataformats="HWC")
        return png

    def flush(self) -> None:
        """Put everything into storage."""
        self._write_segment()
        self._events.flush()
        for name in os.listdir(self._events_folder.name):
            storage.upload(self._fs, os.path.join(self._events_folder.name, name), storage.join(self._folder, name))
        self._flushed_at = time.monotonic()

    def close(self) -> None:
        self.flush()
        self._events.close()
        self._events_folder.cleanup()

    def _write_segment(self) -> None:
        if self._lines:
            name = f"scalars-{self._first_step:08d}.jsonl"
            storage.write_bytes(self._fs, storage.join(self._folder, name), ("\n".join(self._lines) + "\n").encode())


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
