"""A network's outline: names and shapes of its parameters, known before memory is taken for a single one of them."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.overrides import TorchFunctionMode

from recast.models.networks import NETWORKS

LARGEST_ARGUMENT = 1 << 16
"""No width, depth or count of a network is larger."""
MODULES_A_TENSOR = 10
"""How many modules a network may have for each tensor of its weights: most have two or three, some of them empty."""


class OutlineError(ValueError):
    """Arguments that no network is made of, in one sentence."""


def outline(network: str, arguments: Mapping[str, Any], tensors: int) -> nn.Module:
    """The network on the meta device, where tensors have shapes and no values.

    Args:
        tensors: how many its weights are; they bound its modules, whatever the arguments ask for.

    Raises:
        OutlineError: the arguments are not the network's, are absurd, or ask for more modules than the weights fill.
    """
    for name, value in arguments.items():
        for number in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(number, (int, float)) and not -LARGEST_ARGUMENT <= number <= LARGEST_ARGUMENT:
                raise OutlineError(f"{name} is {number}")
    try:
        with torch.device("meta"), _Undrawn(), _bounded(MODULES_A_TENSOR * tensors + 1000):
            return NETWORKS[network](**arguments)
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError, ZeroDivisionError, OverflowError) as fault:
        raise OutlineError(str(fault).splitlines()[0] if str(fault) else type(fault).__name__) from fault


def misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with the names and shapes of a state dict, tensor by tensor: `conv.bias is missing`."""
    ours, theirs = ({name: tuple(value.shape) for name, value in state.items()} for state in (wanted, given))
    found = [f"{name} is {'missing' if name in ours else 'not known'}" for name in ours.keys() ^ theirs.keys()]
    other = (name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name])
    return sorted(found + [f"{name} is {theirs[name]} in place of {ours[name]}" for name in other])


class _Undrawn(TorchFunctionMode):
    """Leaves weights undrawn: torch would take seconds to import what draws them on the meta device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in ("normal_", "uniform_"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def _bounded(most: int) -> Iterator[None]:
    count = 0

    def counted(_module: nn.Module, _name: str, _submodule: nn.Module | None) -> None:
        nonlocal count
        count += 1
        if count > most:
            raise OutlineError("they ask for far more layers than there are weights")

    hook = register_module_module_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()
