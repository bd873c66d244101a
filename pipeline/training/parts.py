"""Which of a batch's examples a worker computes at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recast.models.draws import Rows


@dataclass(frozen=True)
class Cut:
    """One part of a share of a batch, in one worker."""

    own: Tensor
    """Places among the worker's examples, int64 [N]."""
    rows: Rows
    """Places in the share, among the examples of all workers."""
    together: Rows
    """Places among what all workers compute at this time."""


def rows_of(rank: int, world: int, batch_size: int) -> Rows:
    """A worker's examples of a batch: every `world`th, from `rank` on."""
    return Rows(torch.arange(rank, batch_size, world), batch_size)


def cut(rank: int, world: int, batch_size: int, shares: int, accumulate: int) -> list[list[Cut]]:
    """The parts of each share of a batch that a worker computes, one after another."""
    size = batch_size // shares
    return [
        [_cut(rank, world, batch_size, share * size, size, (part, accumulate)) for part in range(accumulate)]
        for share in range(shares)
    ]


def _cut(rank: int, world: int, batch_size: int, first: int, size: int, part: tuple[int, int]) -> Cut:
    everybodys = []
    for other in range(world):
        places = rows_of(other, world, batch_size).places
        within = ((places >= first) & (places < first + size)).nonzero().flatten()
        everybodys.append((within.tensor_split(part[1])[part[0]], places))
    own, places = everybodys[rank]
    together = torch.cat([places[within] for within, places in everybodys]).sort().values
    return Cut(
        own=own,
        rows=Rows(places[own] - first, size),
        together=Rows(torch.searchsorted(together, places[own]), len(together)),
    )
