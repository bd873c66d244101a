"""Training states, as tests compare them."""

from typing import Any

import torch


def flattened(value: Any, name: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a nested state, by path."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {path: t for key, entry in entries for path, t in flattened(entry, f"{name}/{key}").items()}
