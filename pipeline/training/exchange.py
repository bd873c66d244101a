"""What workers tell each other in a training step: gradients, counts, and rows of values."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recast.models.draws import Rows

BUCKET_BYTES = 25 << 20
"""How much travels at a time, as in torch's DistributedDataParallel."""


@torch.no_grad()
def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their sums over all workers, in which the same parameters must have one.

    After the backward pass: on two cores, letting buckets travel while it goes on took as long.
    """
    travelling = []
    for bucket in _buckets([p.grad for p in parameters if p.grad is not None]):
        flat = torch.cat(bucket)
        travelling.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in travelling:
        work.wait()
        torch._foreach_copy_(bucket, flat.split([len(values) for values in bucket]))


def _buckets(gradients: list[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients as flat views of their memory, in lists of one type and of some size."""
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (gradient.dtype != bucket[0].dtype or size + gradient.nbytes > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient.as_strided((gradient.numel(),), (1,)))
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
