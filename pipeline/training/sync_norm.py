"""Batch norm over all workers' examples, so that several workers train as one process with the joined batch would."""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SyncBatchNorm(nn.BatchNorm2d):
    """Ioffe and Szegedy 2015 with the statistics of every worker's share. torch's own works on GPUs alone."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        own = x.float()
        count = torch.tensor([float(own.numel() // own.shape[1])], device=x.device)
        sums = torch.cat([own.sum((0, 2, 3)), own.square().sum((0, 2, 3)), count])
        total = all_reduce(sums)
        n = total[-1].detach()
        mean, square = total[:-1].view(2, -1) / n
        variance = (square - mean.square()).clamp_min(0)
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


def synchronised(network: nn.Module) -> None:
    """Make a network's batch norms synchronous, in place; names and weights stay. Nothing to do for one worker."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm
