"""What workers tell each other in a training step: gradients, counts, and rows of values."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recast.models.draws import Rows

BUCKET_BYTES = 25 << 20
"""How much travels at a time, as in torch's DistributedDataParallel."""


class GradientExchange:
    """Sums gradients over all workers, after the backward pass that completes them.

    In noisy runs on two cores nothing was gained by letting buckets travel while the pass goes on, or by copying sums
    back.
    """

    def __init__(self) -> None:
        self._flats: dict[tuple[int, torch.dtype], Tensor] = {}
        """Where the gradients of a bucket lie, by its number and type, from their exchange to the optimizer's step."""

    @torch.no_grad()
    def sum(self, parameters: Iterable[nn.Parameter]) -> None:
        """Let gradients be their sums over all workers, in which the same parameters must have one."""
        travelling = []
        for number, bucket in enumerate(_buckets(parameters)):
            gradients = [gradient.as_strided((gradient.numel(),), (1,)) for _, gradient in bucket]
            flat = self._flat(number, gradients)
            torch.cat(gradients, out=flat)
            travelling.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in travelling:
            work.wait()
            pieces = flat.split([gradient.numel() for _, gradient in bucket])
            for (parameter, gradient), piece in zip(bucket, pieces, strict=True):
                parameter.grad = piece.as_strided(gradient.shape, gradient.stride(), piece.storage_offset())

    def _flat(self, number: int, gradients: list[Tensor]) -> Tensor:
        size = sum(len(values) for values in gradients)
        place = number, gradients[0].dtype
        if place not in self._flats or len(self._flats[place]) < size:
            self._flats[place] = gradients[0].new_empty(size)
        return self._flats[place][:size]


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[tuple[nn.Parameter, Tensor]]]:
    """Parameters and their gradients, where they have one, in lists of one type and of some size."""
    bucket: list[tuple[nn.Parameter, Tensor]] = []
    size = 0
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        if bucket and (gradient.dtype != bucket[0][1].dtype or size + gradient.nbytes > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append((parameter, gradient))
        size += gradient.nbytes
    if bucket:
        yield bucket


def total(value: Tensor) -> Tensor:
    """The sum over all workers."""
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


class _Sum(torch.autograd.Function):
    """The sum over all workers; a worker's gradient is the sum of everybody's."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return total(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return total(gradients[0])


def summed(value: Tensor) -> Tensor:
    """The sum over all workers, through which gradients flow back to each of them."""
    return _Sum.apply(value)  # type: ignore[no-untyped-call]  # torch types it not


def gathered(values: Tensor, rows: Rows) -> Tensor:
    """Everybody's rows, each in its place; gradients flow back to whose rows they are.

    A loss of all rows, which each worker weighs with its share of them, has its own gradient in the sum over workers.
    """
    everybodys = values.new_zeros(rows.of, *values.shape[1:]).index_copy(0, rows.places.to(values.device), values)
    return summed(everybodys)
