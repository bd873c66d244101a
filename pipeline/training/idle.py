"""How long a worker's device has nothing to do between steps: what waiting for examples costs."""

import time
from typing import Any

import torch


class Idle:
    """Marks where steps begin and end, on the device's own clock: a GPU is busy long after its host has gone on."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._gaps: list[tuple[Any, Any]] = []
        self._ended: Any = None

    def step_begins(self) -> None:
        if self._ended is not None:
            self._gaps.append((self._ended, self._mark()))

    def step_ends(self) -> None:
        self._ended = self._mark()

    def seconds(self) -> float:
        """Between the steps since the last call, but for the time around the call itself. Waits for the device."""
        if self._cuda:
            torch.cuda.synchronize()
        gaps, self._gaps, self._ended = self._gaps, [], None
        return sum(ended.elapsed_time(began) / 1000 if self._cuda else began - ended for ended, began in gaps)

    def _mark(self) -> Any:
        """A CUDA event, or a time in seconds."""
        if not self._cuda:
            return time.monotonic()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
