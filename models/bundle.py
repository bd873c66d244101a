"""A bundle is a trained generator on disk: weights as safetensors, and all that is needed to run them."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.digests import short_digest
from recast.models.networks import NETWORKS
from recast.models.outline import OutlineError, misfits, outline

FORMAT = "recast-bundle/1"
WEIGHTS = "generator.safetensors"
PART_NAME = re.compile(r"(?!generator$)[a-z][a-z0-9_-]{0,63}")
LARGEST_DESCRIPTION_BYTES = 4 << 20


class BundleError(ValueError):
    """A bundle that can't be used, and why, in one sentence."""

    exit_status = 2


@dataclass(frozen=True, kw_only=True)
class BundlePart:
    """A further network of a bundle, its weights in `NAME.safetensors`."""

    network: str
    """A name in `recast.models.networks.NETWORKS`."""
    arguments: Mapping[str, Any]
    """Keyword arguments of the network."""
    weights_sha256: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.network, str) or not isinstance(self.weights_sha256, str):
            raise ValueError("network or weights_sha256 of a part is no text")
        if not isinstance(self.arguments, Mapping):
            raise ValueError("arguments of a part are no mapping")


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What `bundle.json` says."""

    name: str
    """For people: `srresnet x2`."""
    recipe: str
    """The recipe that trained it, or `import`."""
    network: str
    """A name in `recast.models.networks.NETWORKS`."""
    arguments: Mapping[str, Any]
    """Keyword arguments of the network."""
    descriptor: Descriptor
    training: Mapping[str, Any] = field(default_factory=dict)
    """The training record: preset, settings, steps, data, versions."""
    weights_sha256: str = ""
    """Digest of `generator.safetensors`."""
    parts: Mapping[str, BundlePart] = field(default_factory=dict)
    """Other networks that the generator needs, by name."""

    def __post_init__(self) -> None:
        for name in self.parts:
            if not PART_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a part")
        for name in ("name", "recipe", "network", "weights_sha256"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is no text")
        for name in ("arguments", "training"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} is no mapping")

    @property
    def digest(self) -> str:
        """What decides the pixels: networks, arguments, descriptor and weights; `sha256:` and 16 hex digits."""
        descriptor = dataclasses.asdict(self.descriptor)
        if not descriptor["inputs"]:
            del descriptor["inputs"]  # absent from the digests of bundles that are older than it
        deciding: list[Any] = [self.network, dict(self.arguments), descriptor, self.weights_sha256]
        if self.parts:
            deciding.append({name: dataclasses.asdict(part) for name, part in self.parts.items()})
        return short_digest(json.dumps(deciding, sort_keys=True).encode())

    def build(self) -> nn.Module:
        """The network, with fresh weights. Raises BundleError for a network this version doesn't know."""
        return _built(self.name, self.network, self.arguments)


def _built(name: str, network: str, arguments: Mapping[str, Any]) -> nn.Module:
    _check_known(name, network)
    try:
        return NETWORKS[network](**arguments)
    except (TypeError, ValueError) as fault:
        raise BundleError(f"the bundle {name!r} has bad arguments for {network}: {fault}") from fault


def _check_known(name: str, network: str) -> None:
    if network not in NETWORKS:
        known = ", ".join(sorted(NETWORKS))
        raise BundleError(f"the bundle {name!r} needs the network {network!r}; this version has {known}")


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


def weights_file(part: str) -> str:
    """What the file with the weights of a part is called."""
    return f"{part}.safetensors"


def to_json(bundle: Bundle) -> dict[str, Any]:
    """What `bundle.json` says; every input, also where that is one image."""
    said = dataclasses.asdict(bundle)
    said["descriptor"]["inputs"] = [dataclasses.asdict(each) for each in bundle.descriptor.takes]
    return {"format": FORMAT, **said, "digest": bundle.digest}


def read_description(text: str | bytes) -> Bundle:
    """Parse `bundle.json`. Raises BundleError."""
    if len(text) > LARGEST_DESCRIPTION_BYTES:
        raise BundleError(f"not a readable bundle.json: it has {len(text):,} bytes")
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        said = fields.pop("digest", None)
        parts = {name: BundlePart(**part) for name, part in fields.pop("parts", {}).items()}
        bundle = Bundle(descriptor=_descriptor(fields.pop("descriptor")), parts=parts, **fields)
        digest = bundle.digest
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
        raise BundleError(f"not a readable bundle.json: {fault}") from fault
    if said not in (None, digest):
        raise BundleError(f"bundle.json was changed by hand: it says {said}, its contents give {digest}")
    return bundle


def _descriptor(said: Mapping[str, Any]) -> Descriptor:
    """Bundles of before inputs had names state none."""
    inputs = tuple(
        NetworkInput(**{**each, "value_range": tuple(each["value_range"])}) for each in said.get("inputs", ())
    )
    given = {**said, "value_range": tuple(said["value_range"]), "conditions": tuple(said.get("conditions", ()))}
    return Descriptor(**{**given, "inputs": inputs})


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
    network = _built(name, part.network, part.arguments)
    network.load_state_dict({k: v.to(network.state_dict()[k].dtype) for k, v in state.items()})
    return network.eval().requires_grad_(False)


def _check_fits(name: str, network: nn.Module, state: Mapping[str, Tensor]) -> None:
    if odd := misfits(network.state_dict(), state):
        raise BundleError(f"weights of {name!r} don't fit the network: {odd[0]} (and {len(odd) - 1} more)")
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise BundleError(f"weights of {name!r} hold NaN or infinity in {bad[0]} (and {len(bad) - 1} more tensors)")


def model_card(bundle: Bundle) -> str:
    """README.md of a bundle, from what is known of it."""
    d = bundle.descriptor
    lines = [
        f"# {bundle.name}",
        "",
        f"A `{bundle.network}` generator for the task `{d.task}`, trained by the recipe `{bundle.recipe}`.",
        "",
        *(f"- takes `{i.name}` ({i.kind}), {i.channels} channels in {list(i.value_range)}" for i in d.takes),
        f"- takes sides of a multiple of {d.size_multiple}",
        f"- gives {d.out_channels} channels at scale {d.scale}",
        f"- receptive field radius: {'global' if d.halo_px is None else f'{d.halo_px} px'}",
        f"- digest: `{bundle.digest}`",
        "",
        "## Training",
        "",
        *(f"- {k}: {v}" for k, v in bundle.training.items()),
        "",
        f"Use: `recast {d.task} SOURCE OUTPUT --model THIS_FOLDER`",
    ]
    return "\n".join(lines) + "\n"
