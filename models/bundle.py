"""A bundle is a trained generator on disk: weights as safetensors, beside the description of all that runs them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from recast.models.description import (
    WEIGHTS,
    Bundle,
    BundleError,
    BundlePart,
    model_card,
    read_description,
    to_json,
    weights_file,
)
from recast.models.networks import NETWORKS
from recast.models.outline import OutlineError, misfits, outline


def write(bundle: Bundle, network: nn.Module, folder: Path, parts: Mapping[str, nn.Module] | None = None) -> Bundle:
    """Write weights, then `bundle.json`, which marks a whole bundle. Returns it with its weights' digests.

    Args:
        parts: the networks of `bundle.parts`, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digests = {name: _write_weights(part, folder / weights_file(name)) for name, part in (parts or {}).items()}
    described = {name: dataclasses.replace(bundle.parts[name], weights_sha256=digests[name]) for name in bundle.parts}
    whole = dataclasses.replace(bundle, weights_sha256=_write_weights(network, folder / WEIGHTS), parts=described)
    (folder / "README.md").write_text(model_card(whole))
    (folder / "bundle.json").write_text(json.dumps(to_json(whole), indent=2) + "\n")
    return whole


def _write_weights(network: nn.Module, path: Path) -> str:
    """Returns the file's sha256."""
    weights = save_tensors({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()})
    path.write_bytes(weights)
    return hashlib.sha256(weights).hexdigest()


def read(description: str | bytes, weights: bytes) -> tuple[Bundle, nn.Module]:
    """A bundle and its generator, in eval mode on the CPU.

    Raises:
        BundleError: damaged, of an unknown network, weights that don't fit or aren't finite.
    """
    bundle = read_description(description)
    whole = BundlePart(network=bundle.network, arguments=bundle.arguments, weights_sha256=bundle.weights_sha256)
    return bundle, _filled(bundle.name, whole, WEIGHTS, weights)


def read_part(bundle: Bundle, name: str, weights: bytes) -> nn.Module:
    """A further network of a bundle, in eval mode on the CPU. Raises BundleError as `read`."""
    if name not in bundle.parts:
        raise BundleError(f"the bundle {bundle.name!r} has no part {name!r}; it has {sorted(bundle.parts) or 'none'}")
    return _filled(bundle.name, bundle.parts[name], weights_file(name), weights)


def _filled(name: str, part: BundlePart, file: str, weights: bytes) -> nn.Module:
    """A network with its weights; shapes are compared before memory is taken for it."""
    if hashlib.sha256(weights).hexdigest() != part.weights_sha256:
        raise BundleError(f"{file} of {name!r} doesn't match its digest: damaged, or from another bundle")
    try:
        state = load_tensors(weights)
    except SafetensorError as fault:
        raise BundleError(f"{file} of {name!r} is damaged: {fault}") from fault
    _check_known(name, part.network)
    try:
        hollow = outline(part.network, part.arguments, len(state))
    except OutlineError as fault:
        raise BundleError(f"the bundle {name!r} has bad arguments for {part.network}: {fault}") from fault
    _check_fits(name, hollow, state)
    network = built(name, part.network, part.arguments)
    network.load_state_dict({k: v.to(network.state_dict()[k].dtype) for k, v in state.items()})
    return network.eval().requires_grad_(False)


def _check_fits(name: str, network: nn.Module, state: Mapping[str, Tensor]) -> None:
    if odd := misfits(network.state_dict(), state):
        raise BundleError(f"weights of {name!r} don't fit the network: {odd[0]} (and {len(odd) - 1} more)")
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise BundleError(f"weights of {name!r} hold NaN or infinity in {bad[0]} (and {len(bad) - 1} more tensors)")


def built(name: str, network: str, arguments: Mapping[str, Any]) -> nn.Module:
    """The network of the bundle called `name`, with fresh weights. Raises BundleError for one that is not known."""
    _check_known(name, network)
    try:
        return NETWORKS[network](**arguments)
    except (TypeError, ValueError) as fault:
        raise BundleError(f"the bundle {name!r} has bad arguments for {network}: {fault}") from fault


def _check_known(name: str, network: str) -> None:
    if network not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise BundleError(f"the bundle {name!r} needs the network {network!r}; this version has {known}")
