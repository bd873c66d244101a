"""What a training step is made of: phases, each the loss of one update, computed on the parts of a batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from recast.models.draws import RandomState, Rows

Batch = dict[str, Tensor]
"""Examples stacked along a new first axis, on the device the networks are on; tensors without axes belong to all."""
Loss = tuple[Tensor, dict[str, Tensor]]
"""What an update minimises, a mean over the examples of a part; and scalars worth watching, by name."""
T = TypeVar("T")


class Road(Protocol):
    """What the training road tells a recipe of a step; one process in a test, many workers in a cluster."""

    step_number: int
    """Steps that were taken before this one."""
    rows: Rows
    """This worker's examples among those of all workers."""

    def total(self, value: Tensor) -> Tensor:
        """The sum over all workers; nothing is differentiated through it."""

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all workers, each counting alike; nothing is differentiated through it."""

    def gathered(self, values: Tensor, rows: Rows) -> Tensor:
        """All workers' values, from each worker's own [N, ...] and their places; gradients flow back to each."""


@dataclass(kw_only=True)
class Part:
    """Some of a worker's examples, all of them unless a batch is accumulated: what a phase computes its loss on."""

    batch: Batch
    networks: Mapping[str, nn.Module]
    """The recipe's."""
    road: Road
    rows: Rows
    """These examples among all that a phase takes from the batch, of all workers: whose numbers are drawn."""
    together: Rows
    """These examples among those that all workers compute at this time."""
    alone: bool = True
    """Whether the batch has no other part in this worker."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What one phase leaves for the next: tensors, or tuples of them. Of several parts only that is left which nothing
    is differentiated through."""
    _begun: dict[str, RandomState] = field(default_factory=dict)

    @property
    def fraction(self) -> float:
        """The share of these examples in all that a phase takes from the batch, of all workers."""
        return len(self.rows.places) / self.rows.of

    def once(self, name: str, compute: Callable[[], T]) -> T:
        """What several phases need, computed by the first of them.

        Where a batch has several parts, what a gradient flows through is forgotten between phases, so that no part's
        graph outlives its phase, and computed again: with the same draws, and without another trace in running
        statistics. Its networks must not have learned in between.
        """
        if name not in self.kept:
            self.kept[name] = self._again(name, compute) if name in self._begun else self._first(name, compute)
        return self.kept[name]

    def _first(self, name: str, compute: Callable[[], T]) -> T:
        if not self.alone:
            self._begun[name] = RandomState.now(next(iter(self.batch.values())).device)
        return compute()

    def _again(self, name: str, compute: Callable[[], T]) -> T:
        state = self._begun[name]
        now = RandomState.now(state.device)
        state.restore()
        try:
            with spare_buffers(self.networks.values()):
                return compute()
        finally:
            now.restore()

    def forget(self) -> None:
        """Let go of what gradients flow through."""
        self.kept = {name: value for name, value in self.kept.items() if not _differentiable(value)}

    def gathered(self, values: Tensor) -> Tensor:
        """The values of all examples that the workers compute at this time, from these examples' [N, ...]."""
        return self.road.gathered(values, self.together)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One update of a step: an optimizer's parameters follow the gradient of a loss."""

    optimizer: str
    """Its name in `Recipe.optimizers`."""
    loss: Callable[[Part], Loss]
    """Every worker's must reach the same parameters."""
    fixed: tuple[str, ...] = ()
    """Networks that gradients flow through but that keep none."""
    every: int = 1
    """It is run at each step whose number is a multiple of this. Weigh its loss accordingly (lazy regularisation:
    Karras et al. 2020, arXiv:1912.04958, appendix B)."""
    share: int = 0
    """Which of the batch's equal shares it takes; there are as many as the phases of a step ask for."""


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Networks as fixed functions: gradients flow through them, none are kept; then every flag is what it was."""
    learning = [(p, p.requires_grad) for network in networks for p in network.parameters()]
    training = [(module, module.training) for network in networks for module in network.modules()]
    for parameter, _ in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in learning:
            parameter.requires_grad_(flag)
        for module, flag in training:
            module.training = flag


@contextmanager
def spare_buffers(networks: Iterable[nn.Module]) -> Iterator[None]:
    """Let networks write running statistics and the like to copies, which nobody reads afterwards."""
    modules = [module for network in networks for module in network.modules()]
    places = [(module, name, own) for module in modules for name, own in module.named_buffers(recurse=False)]
    for module, name, own in places:
        setattr(module, name, own.clone())
    try:
        yield
    finally:
        for module, name, own in places:
            setattr(module, name, own)


def batch_norms(networks: Mapping[str, nn.Module]) -> list[str]:
    """The networks that have a batch norm, by name."""
    kinds = (nn.modules.batchnorm._BatchNorm,)
    return [name for name, network in networks.items() if any(isinstance(m, kinds) for m in network.modules())]


def _differentiable(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.requires_grad
    return any(_differentiable(each) for each in value)
