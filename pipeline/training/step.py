"""What the training road supplies to every recipe: devices, precision, DDP, optimizer steps, the averaged product."""

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from recast.models.recipes.recipe import Batch, Recipe
from recast.pipeline.precision import Precision
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.sync_norm import synchronised

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class WorkerRoad:
    """Carries a recipe's steps out in one worker. It wraps the recipe's networks in place."""

    def __init__(
        self,
        recipe: Recipe,
        plan: TrainingSpec,
        *,
        device: torch.device,
        ema_decay: float,
        batch_size: int,
        world: int = 1,
    ) -> None:
        """For one of `world` workers that share batches of `batch_size`, perhaps not evenly."""
        self.recipe, self.device = recipe, device
        self.precision: Precision = plan.precision
        self.accumulate, self.ema_decay = plan.accumulate, ema_decay
        self.batch_size, self.world = batch_size, world
        self.bare: dict[str, nn.Module] = {}
        pixelwise = device.type != "cpu" or recipe.channels_last if plan.channels_last is None else plan.channels_last
        layout = torch.channels_last if pixelwise else torch.contiguous_format
        for name, network in recipe.networks.items():
            self.bare[name] = network.to(device, memory_format=layout).train()  # type: ignore[call-overload]  # torch omits it
            if plan.sync_batchnorm:
                synchronised(network)
            if plan.compile:
                network.compile()
            if world > 1:
                recipe.networks[name] = DistributedDataParallel(network, broadcast_buffers=False)
        for network in recipe.fixed.values():
            network.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch omits it
        self.averaged = copy.deepcopy(self._product).requires_grad_(False) if ema_decay else None
        self.scalers = {
            name: torch.amp.GradScaler(device.type, enabled=plan.precision == "fp16") for name in recipe.optimizers
        }
        self.base_lr = {name: o.param_groups[0]["lr"] for name, o in recipe.optimizers.items()}
        self.lr = 0.0
        self._last_part = True
        self._weight = 1.0

    @property
    def _product(self) -> nn.Module:
        return self.bare[self.recipe.product.part]

    @property
    def generator(self) -> nn.Module:
        """The product as it goes into a bundle: averaged, if an average is kept."""
        return self._product if self.averaged is None else self.averaged

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One training step on a batch of uint8 tensors; returns the recipe's scalars."""
        for name, optimizer in self.recipe.optimizers.items():
            self.lr = self.base_lr[name] * self.recipe.lr_factor(step)
            for group in optimizer.param_groups:
                group["lr"] = self.lr
        parts = [dict(zip(batch, part, strict=True)) for part in zip(*self._parts(batch), strict=True)]
        scalars: list[dict[str, Tensor]] = []
        for number, part in enumerate(parts, 1):
            self._last_part = number == len(parts)
            # Losses are means over a part; DDP averages gradients. Weighed so, they are means over the whole batch.
            self._weight = len(next(iter(part.values()))) * self.world / self.batch_size
            with self._syncing(), self._autocast():
                scalars.append(self.recipe.step(part, self))
        self._average(step)
        return {name: torch.stack([s[name].detach() for s in scalars]).mean() for name in scalars[0]}

    def _parts(self, batch: Batch) -> Iterator[tuple[Tensor, ...]]:
        for tensor in batch.values():
            yield tensor.to(self.device, non_blocking=True).tensor_split(self.accumulate)

    @contextlib.contextmanager
    def _syncing(self) -> Iterator[None]:
        """Workers exchange gradients only with the last part of a batch."""
        with contextlib.ExitStack() as stack:
            for network in self.recipe.networks.values():
                if isinstance(network, DistributedDataParallel) and not self._last_part:
                    stack.enter_context(network.no_sync())
            yield

    def _autocast(self) -> torch.autocast:
        dtype = AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def update(self, name: str, loss: Tensor) -> None:
        optimizer, scaler = self.recipe.optimizers[name], self.scalers[name]
        with torch.autocast(self.device.type, enabled=False):
            scaler.scale(loss * self._weight).backward()
        if self._last_part:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            torch.clear_autocast_cache()  # it may hold casts of the weights before this update

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[nn.Module]:
        network = self.bare[name].requires_grad_(False)
        try:
            yield network
        finally:
            network.requires_grad_(True)

    @torch.no_grad()
    def _average(self, step: int) -> None:
        """Let the averaged product follow; faster in the beginning, as in TensorFlow's ExponentialMovingAverage."""
        if self.averaged is None:
            return
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self._product.parameters()), 1 - decay)
        for kept, new in zip(self.averaged.buffers(), self._product.buffers(), strict=True):
            kept.copy_(new)

    def finite(self) -> bool:
        """Whether all weights are."""
        return all(bool(torch.isfinite(p).all()) for network in self.bare.values() for p in network.parameters())

    def state(self) -> dict[str, Any]:
        """Everything that decides the next step, besides what follows from seed and step."""
        return {
            "networks": {name: network.state_dict() for name, network in self.bare.items()},
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.recipe.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        for name, network in self.bare.items():
            network.load_state_dict(state["networks"][name])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"] or self._product.state_dict())
        for name, optimizer in self.recipe.optimizers.items():
            asked = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
            optimizer.load_state_dict(state["optimizers"][name])
            for group, settings in zip(optimizer.param_groups, asked, strict=True):
                group.update(settings)  # they may be others from here on
        for name, scaler in self.scalers.items():
            if state["scalers"][name]:  # there is none of a training in another precision
                scaler.load_state_dict(state["scalers"][name])
