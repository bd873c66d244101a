"""What workers tell each other in a training step: gradients, counts, and rows of values."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recast.models.draws import Rows

BUCKET_BYTES = 4 << 20
"""How much travels at a time. Less than the 25 MiB of torch's wrapper, so that more of it travels during the pass."""


class GradientExchange:
    """Sums gradients over all workers, bucket by bucket, while the backward pass that completes them goes on."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        """For parameters of which the same ones get a gradient in every worker."""
        self._buckets = list(_buckets(reversed(list(parameters))))  # the last layers' gradients are there first
        self._bucket_of = {p: n for n, bucket in enumerate(self._buckets) for p in bucket}
        self._flats: dict[int, Tensor] = {}
        """Where a bucket's gradients lie to travel, and stay until the update."""
        self._missing: list[int] = []
        """How many gradients each bucket that was not sent yet waits for."""
        self._travelling: list[tuple[list[nn.Parameter], Tensor, dist.Work]] = []
        for parameter in self._bucket_of:
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._arrived)

    def begin(self) -> None:
        """The backward pass that comes next completes the gradients."""
        self._missing = [len(bucket) for bucket in self._buckets]

    def finish(self) -> None:
        """After that backward pass: let gradients be their sums."""
        while self._missing:
            self._send()
        for bucket, flat, work in self._travelling:
            work.wait()
            sums = flat.split([p.numel() for p in bucket])
            for parameter, piece in zip(bucket, sums, strict=True):
                assert parameter.grad is not None  # it was sent
                strides = parameter.grad.stride()
                parameter.grad = piece.as_strided(parameter.shape, strides, piece.storage_offset())
        self._travelling = []

    def _arrived(self, parameter: Tensor) -> None:
        """Send what is complete, in the order of the buckets, which is the same in every worker."""
        if not self._missing:
            return
        sent = len(self._buckets) - len(self._missing)
        self._missing[self._bucket_of[parameter] - sent] -= 1  # type: ignore[index]  # it is called with a parameter
        while self._missing and not self._missing[0]:
            self._send()

    @torch.no_grad()
    def _send(self) -> None:
        number = len(self._buckets) - len(self._missing)
        self._missing.pop(0)
        bucket = [p for p in self._buckets[number] if p.grad is not None]
        gradients = [p.grad.as_strided((p.numel(),), (1,)) for p in bucket if p.grad is not None]
        if not bucket:
            return
        if number not in self._flats:
            size = sum(p.numel() for p in self._buckets[number])
            self._flats[number] = gradients[0].new_empty(size)
        flat = self._flats[number][: sum(len(values) for values in gradients)]
        torch.cat(gradients, out=flat)
        self._travelling.append((bucket, flat, dist.all_reduce(flat, async_op=True)))


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters in lists of one type and of some size."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if bucket and (parameter.dtype != bucket[0].dtype or size + parameter.nbytes > BUCKET_BYTES):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.nbytes
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
