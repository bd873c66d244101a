"""A bundle is a trained generator on disk: weights as safetensors, and all that is needed to run them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from recast.models.descriptor import Descriptor
from recast.models.digests import short_digest
from recast.models.networks import NETWORKS
from recast.models.outline import OutlineError, misfits, outline

FORMAT = "recast-bundle/1"
WEIGHTS = "generator.safetensors"
LARGEST_DESCRIPTION_BYTES = 4 << 20


class BundleError(ValueError):
    """A bundle that can't be used, and why, in one sentence."""

    exit_status = 2


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

    def __post_init__(self) -> None:
        for name in ("name", "recipe", "network", "weights_sha256"):
            if not isinstance(getattr(self, name), str):
                raise ValueError(f"{name} is no text")
        for name in ("arguments", "training"):
            if not isinstance(getattr(self, name), Mapping):
                raise ValueError(f"{name} is no mapping")

    @property
    def digest(self) -> str:
        """What decides the pixels: network, arguments, descriptor and weights; `sha256:` and 16 hex digits."""
        parts = [self.network, dict(self.arguments), dataclasses.asdict(self.descriptor), self.weights_sha256]
        return short_digest(json.dumps(parts, sort_keys=True).encode())

    def build(self) -> nn.Module:
        """The network, with fresh weights. Raises BundleError for a network this version doesn't know."""
        self._check_known()
        try:
            return NETWORKS[self.network](**self.arguments)
        except (TypeError, ValueError) as fault:
            raise BundleError(f"the bundle {self.name!r} has bad arguments for {self.network}: {fault}") from fault

    def outline(self, tensors: int) -> nn.Module:
        """The network without values, to compare with so many tensors of weights before memory is taken for it.

        Raises:
            BundleError: an unknown network, or arguments that are not its own or absurd.
        """
        self._check_known()
        try:
            return outline(self.network, self.arguments, tensors)
        except OutlineError as fault:
            raise BundleError(f"the bundle {self.name!r} has bad arguments for {self.network}: {fault}") from fault

    def _check_known(self) -> None:
        if self.network not in NETWORKS:
            known = ", ".join(sorted(NETWORKS))
            raise BundleError(f"the bundle {self.name!r} needs the network {self.network!r}; this version has {known}")


def write(bundle: Bundle, network: nn.Module, folder: Path) -> Bundle:
    """Write weights, then `bundle.json`, which marks a whole bundle. Returns it with its weights' digest."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = save_tensors({k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()})
    whole = dataclasses.replace(bundle, weights_sha256=hashlib.sha256(weights).hexdigest())
    (folder / WEIGHTS).write_bytes(weights)
    (folder / "README.md").write_text(model_card(whole))
    (folder / "bundle.json").write_text(json.dumps(to_json(whole), indent=2) + "\n")
    return whole


def to_json(bundle: Bundle) -> dict[str, Any]:
    return {"format": FORMAT, **dataclasses.asdict(bundle), "digest": bundle.digest}


def read_description(text: str | bytes) -> Bundle:
    """Parse `bundle.json`. Raises BundleError."""
    if len(text) > LARGEST_DESCRIPTION_BYTES:
        raise BundleError(f"not a readable bundle.json: it has {len(text):,} bytes")
    try:
        fields = json.loads(text)
        if fields.pop("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        said = fields.pop("digest", None)
        descriptor = fields.pop("descriptor")
        descriptor = {**descriptor, "value_range": tuple(descriptor["value_range"])}
        descriptor["conditions"] = tuple(descriptor.get("conditions", ()))
        bundle = Bundle(descriptor=Descriptor(**descriptor), **fields)
        digest = bundle.digest
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as fault:
        raise BundleError(f"not a readable bundle.json: {fault}") from fault
    if said not in (None, digest):
        raise BundleError(f"bundle.json was changed by hand: it says {said}, its contents give {digest}")
    return bundle


def read(description: str | bytes, weights: bytes) -> tuple[Bundle, nn.Module]:
    """A bundle and its generator, in eval mode on the CPU.

    Raises:
        BundleError: damaged, of an unknown network, weights that don't fit or aren't finite.
    """
    bundle = read_description(description)
    if hashlib.sha256(weights).hexdigest() != bundle.weights_sha256:
        raise BundleError(f"{WEIGHTS} of {bundle.name!r} doesn't match its digest: damaged, or from another bundle")
    try:
        state = load_tensors(weights)
    except SafetensorError as fault:
        raise BundleError(f"{WEIGHTS} of {bundle.name!r} is damaged: {fault}") from fault
    _check_fits(bundle.name, bundle.outline(len(state)), state)
    network = bundle.build()
    network.load_state_dict({k: v.to(network.state_dict()[k].dtype) for k, v in state.items()})
    return bundle, network.eval().requires_grad_(False)


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
        f"- takes {d.in_channels} channels in {list(d.value_range)}, sides a multiple of {d.size_multiple}",
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
