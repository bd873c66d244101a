"""Checkpoints of a training: one file each, there whole or not at all, the newest few kept."""

import io
import os
import re
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from recast.pipeline import storage
from recast.pipeline.training.settings import TrainingError

FORMAT = "recast-checkpoint/1"
NAME = re.compile(r"step-(\d{8})\.pt")

RENAMED = {"averaged": "ema", "memories": "recipes"}
"""What entries of a checkpoint were called before, and are called now."""


class Checkpoints:
    """The folder `checkpoints/` of a training output.

    Args:
        scratch: a folder for what is on its way to the output; by default that of all temporary files.
    """

    def __init__(self, output: str, scratch: str | None = None) -> None:
        self.scratch = scratch
        self._fs, root = storage.filesystem(output)
        self._folder = storage.join(root, "checkpoints")

    def steps(self) -> list[int]:
        """Steps that there are checkpoints of, ascending."""
        matches = (NAME.fullmatch(name) for name in storage.sizes(self._fs, self._folder))
        return sorted(int(match[1]) for match in matches if match)

    def load(self, step: int) -> dict[str, Any]:
        """A checkpoint's contents, on the CPU; nothing in it is executed.

        Raises:
            TrainingError: it can't be read as a checkpoint.
        """
        path = self._path(step)
        try:
            state = torch.load(io.BytesIO(storage.read_bytes(self._fs, path)), map_location="cpu", weights_only=True)
            if state["format"] != FORMAT:
                raise ValueError(f"its format is {state['format']!r}, not {FORMAT!r}")
        except Exception as fault:  # unpicklers of damaged files raise anything
            if storage.is_storage_fault(fault):
                raise
            reason = str(fault).partition("\n")[0] or type(fault).__name__
            raise TrainingError(
                f"can't resume from {storage.uri(self._fs, path)}: it is damaged or foreign ({reason}); delete it"
            ) from fault
        return {RENAMED.get(name, name): value for name, value in state.items()}

    def save(self, step: int, state: dict[str, Any], keep: int, confirmed: Callable[[], None]) -> None:
        """Write a checkpoint, then delete all but the newest `keep`.

        Args:
            confirmed: raises if the output isn't this training's any more; asked before anything changes in it.
        """
        with tempfile.TemporaryDirectory(prefix="recast-", dir=self.scratch) as folder:
            local = os.path.join(folder, "state.pt")
            torch.save({"format": FORMAT, "step": step, **state}, local)
            confirmed()
            storage.upload(self._fs, local, self._path(step))
        confirmed()
        for old in self.steps()[:-keep]:
            storage.remove(self._fs, self._path(old))

    def _path(self, step: int) -> str:
        return storage.join(self._folder, f"step-{step:08d}.pt")
