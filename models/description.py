"""What a bundle says of itself in `bundle.json`: no weights are read for it, and no torch is needed."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.digests import short_digest
from recast.models.looks import read_looks

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
        for younger in ("inputs", "looks"):  # absent from the digests of bundles that are older than they are
            if not descriptor[younger]:
                del descriptor[younger]
        deciding: list[Any] = [self.network, dict(self.arguments), descriptor, self.weights_sha256]
        if self.parts:
            deciding.append({name: dataclasses.asdict(part) for name, part in self.parts.items()})
        return short_digest(json.dumps(deciding, sort_keys=True).encode())


def weights_file(part: str) -> str:
    """What the file with the weights of a part is called."""
    return f"{part}.safetensors"


def to_json(bundle: Bundle) -> dict[str, Any]:
    """What `bundle.json` says; every input, also where that is one image."""
    said = dataclasses.asdict(bundle)
    if not bundle.descriptor.looks:
        del said["descriptor"]["looks"]
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
    return Descriptor(**{**given, "inputs": inputs, "looks": read_looks(said.get("looks"))})


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
        *_given(d),
        f"- digest: `{bundle.digest}`",
        "",
        "## Training",
        "",
        *(f"- {k}: {v}" for k, v in bundle.training.items()),
        "",
        f"Use: `recast {d.task} SOURCE OUTPUT --model THIS_FOLDER`",
    ]
    return "\n".join(lines) + "\n"


def _given(descriptor: Descriptor) -> list[str]:
    """Lines of a model card on what the network gives."""
    if looks := descriptor.looks:
        names = ", ".join(each.name for each in looks.categories)
        points = [f"- gives the keypoints {', '.join(looks.points)}"] if looks.points else []
        return [f"- finds {names}", *points, f"- looks at sides of up to {looks.size_px} px"]
    halo = "global" if descriptor.halo_px is None else f"{descriptor.halo_px} px"
    return [
        f"- gives {descriptor.out_channels} channels at scale {descriptor.scale}",
        f"- receptive field radius: {halo}",
    ]
