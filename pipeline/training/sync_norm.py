"""Batch norm over all workers' examples, so that several workers train as one process with the joined batch would."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from recast.models.draws import Rows
from recast.pipeline.training.exchange import gathered


class SyncBatchNorm(nn.BatchNorm2d):
    """Ioffe and Szegedy 2015 with the statistics of every worker's share. torch's own works on GPUs alone."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        own = x.float()
        count = own.numel() // own.shape[1]
        means = own.mean((0, 2, 3))
        squares = (own - means.view(1, -1, 1, 1)).square().sum((0, 2, 3))
        n, mean, variance = _joined(count, means, squares)
        self._follow(mean.detach(), variance.detach() * n / (n - 1).clamp_min(1))
        shape = (1, -1, 1, 1)
        normal = (own - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        return (normal * self.weight.view(shape) + self.bias.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        momentum = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)
        self.num_batches_tracked.add_(1)


def _joined(count: int, mean: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """How many values a channel has in all workers, their mean and variance, from each worker's count, mean and sum of
    squared differences from it (Chan et al. 1983: differences of means, where sums of squares would cancel)."""
    own = torch.cat([mean, squares, mean.new_tensor([count])])[None]
    everybodys = gathered(own, Rows(torch.tensor([dist.get_rank()]), dist.get_world_size()))
    means, squares, counts = everybodys.split([len(mean), len(mean), 1], 1)
    counts = counts.detach()
    n = counts.sum()
    joined = (means * counts).sum(0) / n
    variance = (squares + counts * (means - joined).square()).sum(0) / n
    return n, joined, variance


def synchronised(network: nn.Module) -> None:
    """Make a network's batch norms synchronous, in place; names and weights stay. Nothing to do for one worker."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm
