"""What the training road supplies to every recipe: devices, precision, parts, averaged gradients, updates, EMA."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recast.models.draws import RandomState, Rows, drawn_for
from recast.models.recipes.phases import Batch, Part, Phase, frozen
from recast.models.recipes.recipe import Recipe
from recast.pipeline.precision import Precision
from recast.pipeline.training import exchange
from recast.pipeline.training.parts import Cut, cut, rows_of
from recast.pipeline.training.settings import TrainingSpec
from recast.pipeline.training.sync_norm import synchronised

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class WorkerRoad:
    """Runs a recipe's phases in one worker. Networks stay themselves: gradients are averaged, not networks wrapped."""

    def __init__(
        self,
        recipe: Recipe,
        plan: TrainingSpec,
        *,
        device: torch.device,
        ema_decay: float,
        batch_size: int,
        world: int = 1,
        rank: int = 0,
    ) -> None:
        """For worker `rank` of `world` that share batches of `batch_size`: each has every `world`th example."""
        self.recipe, self.device, self.phases = recipe, device, tuple(recipe.phases())
        self.precision: Precision = plan.precision
        self.ema_decay, self.world = ema_decay, world
        self.rows = rows_of(rank, world, batch_size)
        shares = 1 + max(phase.share for phase in self.phases)
        self._cuts = cut(rank, world, batch_size, shares, plan.accumulate)
        pixelwise = device.type != "cpu" or recipe.channels_last if plan.channels_last is None else plan.channels_last
        layout = torch.channels_last if pixelwise else torch.contiguous_format
        for network in recipe.networks.values():
            network.to(device, memory_format=layout).train()  # type: ignore[call-overload]  # torch omits it
            if plan.sync_batchnorm:
                synchronised(network)
            if plan.compile:
                network.compile()
        for network in recipe.fixed.values():
            network.to(device, memory_format=layout)  # type: ignore[call-overload]  # torch omits it
        self.ema = copy.deepcopy(self._exported).requires_grad_(False) if ema_decay else None
        self.scalers = {
            name: torch.amp.GradScaler(device.type, enabled=plan.precision == "fp16") for name in recipe.optimizers
        }
        self.initial_lr = {name: o.param_groups[0]["lr"] for name, o in recipe.optimizers.items()}
        self._exchanges = {name: exchange.GradientExchange() for name in recipe.optimizers}
        self.lr = 0.0
        self.step_number = 0

    @property
    def _exported(self) -> nn.Module:
        return self.recipe.networks[self.recipe.exported.name]

    @property
    def generator(self) -> nn.Module:
        """The exported network as it goes into a bundle: averaged over steps, if an average is kept."""
        return self._exported if self.ema is None else self.ema

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One training step on this worker's examples, uint8; returns the recipe's scalars."""
        self.step_number = step
        for name, optimizer in self.recipe.optimizers.items():
            self.lr = self.initial_lr[name] * self.recipe.lr_factor(step)
            for group in optimizer.param_groups:
                group["lr"] = self.lr
        on_device = {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}
        with torch.no_grad():
            prepared = self.recipe.prepared(on_device, self)
        shares = [[self._part(prepared, each, len(cuts)) for each in cuts] for cuts in self._cuts]
        scalars: dict[str, Tensor] = {}
        for phase in self.phases:
            if step % phase.every == 0:
                scalars |= self._run(phase, shares[phase.share])
        self._follow(step)
        return scalars

    def _part(self, batch: Batch, piece: Cut, parts: int) -> Part:
        if len(piece.own) < len(self.rows.places):
            own = piece.own.to(self.device)
            batch = {name: tensor[own] if tensor.dim() else tensor for name, tensor in batch.items()}
        return Part(
            batch=batch,
            networks=self.recipe.networks,
            road=self,
            rows=piece.rows,
            together=piece.together,
            alone=parts == 1,
        )

    def _run(self, phase: Phase, parts: Sequence[Part]) -> dict[str, Tensor]:
        """One update, with the mean of the loss over the parts of all workers; returns its scalars."""
        scaler, seen = self.scalers[phase.optimizer], []
        begun = None if len(parts) == 1 else RandomState.now(self.device)
        with frozen(*(self.recipe.networks[name] for name in phase.fixed)):
            for part in parts:
                if begun:
                    begun.restore()  # parts draw the same numbers, each for its own examples
                with self._autocast(), drawn_for(part.rows):
                    loss, scalars = phase.loss(part)
                scaler.scale(loss * part.fraction).backward()
                seen.append({name: value.detach() * part.fraction for name, value in scalars.items()})
                if begun:
                    part.forget()
        self._update(phase.optimizer)
        share = sum(part.fraction for part in parts)
        return {name: torch.stack([scalars[name] for scalars in seen]).sum() / share for name in seen[0]}

    def _update(self, name: str) -> None:
        optimizer, scaler = self.recipe.optimizers[name], self.scalers[name]
        if self.world > 1:
            self._exchanges[name].sum(p for group in optimizer.param_groups for p in group["params"])
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)

    def _autocast(self) -> torch.autocast:
        dtype = AUTOCAST.get(self.precision)
        return torch.autocast(self.device.type, dtype or torch.bfloat16, enabled=dtype is not None)

    def total(self, value: Tensor) -> Tensor:
        """See `Road`."""
        return exchange.total(value) if self.world > 1 else value.detach()

    def mean(self, value: Tensor) -> Tensor:
        """See `Road`."""
        return self.total(value) / self.world

    def gathered(self, values: Tensor, rows: Rows) -> Tensor:
        """See `Road`."""
        return exchange.gathered(values, rows) if self.world > 1 else values

    @torch.no_grad()
    def _follow(self, step: int) -> None:
        """Let the averaged network follow; faster in the beginning, as in TensorFlow's ExponentialMovingAverage."""
        if self.ema is None:
            return
        decay = min(self.ema_decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.ema.parameters()), list(self._exported.parameters()), 1 - decay)
        for kept, new in zip(self.ema.buffers(), self._exported.buffers(), strict=True):
            kept.copy_(new)

    def finite(self) -> bool:
        """Whether all weights are."""
        weights = (p for network in self.recipe.networks.values() for p in network.parameters())
        return all(bool(torch.isfinite(p).all()) for p in weights)

    def state(self) -> dict[str, Any]:
        """Everything that decides the next step, besides what follows from seed and step."""
        return {
            "networks": {name: network.state_dict() for name, network in self.recipe.networks.items()},
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.recipe.optimizers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in self.scalers.items()},
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` gave."""
        for name, network in self.recipe.networks.items():
            network.load_state_dict(state["networks"][name])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"] or self._exported.state_dict())
        for name, optimizer in self.recipe.optimizers.items():
            asked = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
            optimizer.load_state_dict(state["optimizers"][name])
            for group, settings in zip(optimizer.param_groups, asked, strict=True):
                group.update(settings)  # they may be others from here on
        for name, scaler in self.scalers.items():
            if state["scalers"][name]:  # there is none of a training in another precision
                scaler.load_state_dict(state["scalers"][name])
