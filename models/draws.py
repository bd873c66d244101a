"""Random numbers that belong to examples: drawn for a whole batch, and cut to the examples at hand.

Two workers, or two parts of an accumulated batch, draw so what one process with the whole batch would. Whatever a
recipe, a loss or a network draws while it trains comes from here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Rows:
    """Some examples of a batch."""

    places: Tensor
    """Their places in it, int64 [N], on the CPU."""
    of: int
    """How many examples the batch has."""

    @property
    def all(self) -> bool:
        """Whether these are all examples of the batch."""
        return len(self.places) == self.of

    def repeated(self, count: int) -> Tensor:
        """Their places where the batch stands `count // len(self.places)` times, one after another."""
        times, rest = divmod(count, len(self.places))
        if rest:
            raise ValueError(f"{count} rows are drawn for {len(self.places)} examples; it must be a multiple")
        return (torch.arange(times)[:, None] * self.of + self.places).flatten()


class _Current:
    rows: Rows | None = None
    """Whose numbers are drawn now; None: those of all examples that are there."""


@contextmanager
def drawn_for(rows: Rows) -> Iterator[None]:
    """What is drawn within belongs to these examples of a batch. Tensors may hold them several times in a row."""
    before, _Current.rows = _Current.rows, None if rows.all else rows
    try:
        yield
    finally:
        _Current.rows = before


def randn(*shape: int, device: torch.device | None = None) -> Tensor:
    """Normal numbers for examples along the first axis, as `torch.randn`."""
    return _cut(torch.randn(_whole(shape[0]), *shape[1:], device=device), shape[0])


def rand(*shape: int, device: torch.device | None = None) -> Tensor:
    """Numbers in [0, 1) for examples along the first axis, as `torch.rand`."""
    return _cut(torch.rand(_whole(shape[0]), *shape[1:], device=device), shape[0])


def randint(high: int, *shape: int) -> Tensor:
    """Integers in [0, high) for examples along the first axis, on the CPU, as `torch.randint`."""
    return _cut(torch.randint(high, (_whole(shape[0]), *shape[1:])), shape[0])


def randn_like(x: Tensor) -> Tensor:
    """Normal numbers of the shape, type and layout of x [N, ...]."""
    return _cut(torch.randn_like(_whole_like(x)), len(x))


def rand_like(x: Tensor) -> Tensor:
    """Numbers in [0, 1) of the shape, type and layout of x [N, ...]."""
    return _cut(torch.rand_like(_whole_like(x)), len(x))


class Dropout(nn.Dropout):
    """Dropout whose masks belong to the examples."""

    def forward(self, x: Tensor) -> Tensor:
        if _Current.rows is None or not self.training:
            return super().forward(x)
        mask = F.dropout(torch.ones_like(_whole_like(x)), self.p)  # the same draws as with the whole batch
        return x * _cut(mask, len(x))


@dataclass(frozen=True)
class RandomState:
    """The state of the generators that torch draws from, on the CPU and on one device."""

    cpu: Tensor
    device: torch.device
    on_device: Tensor | None

    @classmethod
    def now(cls, device: torch.device) -> "RandomState":
        on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.get_rng_state(), device, on_device)

    def restore(self) -> None:
        """Let what is drawn from now on be what was drawn since."""
        torch.set_rng_state(self.cpu)
        if self.on_device is not None:
            torch.cuda.set_rng_state(self.on_device, self.device)


def _whole(count: int) -> int:
    """How many rows must be drawn so that `count` are for the examples at hand."""
    rows = _Current.rows
    return count if rows is None else count // len(rows.places) * rows.of


def _whole_like(x: Tensor) -> Tensor:
    """An empty tensor for the whole batch, laid out as x is."""
    if _Current.rows is None:
        return x
    pixelwise = x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if pixelwise else torch.contiguous_format
    shape = (_whole(len(x)), *x.shape[1:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)


def _cut(drawn: Tensor, count: int) -> Tensor:
    rows = _Current.rows
    return drawn if rows is None else drawn[rows.repeated(count).to(drawn.device)]
