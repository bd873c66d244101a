"""Which generators of other programs are known, and which of them a checkpoint holds."""

import dataclasses
import re
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from recast.models.description import BundleError
from recast.models.foreign.detection import centernet, mask_rcnn, retinaface
from recast.models.foreign.files import AVERAGED, Nested, entries, flat
from recast.models.foreign.states import COUNTER, Recognised, State
from recast.models.foreign.translation import resnet_generator, transform_net, unet
from recast.models.foreign.upscaling import msrresnet, rrdb, srvgg
from recast.models.outline import OutlineError, misfits, outline

RECOGNISERS: tuple[Callable[[State], Recognised | None], ...] = (
    resnet_generator, unet, msrresnet, rrdb, srvgg, transform_net, retinaface,
    mask_rcnn, centernet,
)  # fmt: skip
PREFIXES = re.compile(r"^(module\.|_orig_mod\.)+")
"""What DataParallel and torch.compile put before all names."""
DEEPEST_PREFIX = 6
"""Names before a generator's own, at most."""
OWNERS = re.compile(r"(net)?_?(G|g|gen|generator|model|network|net)(_?(ema|A|B|A2B|B2A|AB|BA))?|ema|params|module")
"""Names before a generator's own, where a file holds a whole training's networks side by side."""


def identify(nested: Nested, name: str, key: str = "") -> Recognised:
    """The one generator in what a file holds, wherever it lies in it and whatever stands before its names.

    Args:
        key: the entry or the beginning of names to take (`state_dict.netG`), where there is a choice.

    Raises:
        BundleError: there is none, it doesn't fit, or there are several to choose from.
    """
    if key:
        return recognise(flat(nested, name, key), name)
    found: dict[str, Recognised] = {}
    misfit: BundleError | None = None
    for place, state in _candidates(nested, ""):
        try:
            found[place] = recognise(state, name)
        except BundleError as fault:
            misfit = misfit if misfit and "looks like" in str(misfit) else fault
    if not found:
        raise misfit or BundleError(f"{name} holds no state dict; it has {entries(nested)}")
    return found[_chosen(found, name)]


def _chosen(found: dict[str, Recognised], name: str) -> str:
    """Averaged weights before those they are the average of; a state before what is only a part of it."""
    places = [place for place in found if not any(_is_part(place, other) for other in found)]
    averaged = [place for place in places if place.rpartition(".")[2] in AVERAGED]
    if len(averaged) == 1:
        return averaged[0]
    if len(places) > 1:
        raise BundleError(
            f"{name} holds several generators: {', '.join(sorted(places))}; choose one with --key {sorted(places)[0]}"
        )
    return places[0]


def _is_part(place: str, other: str) -> bool:
    return place != other and (not other or place.startswith(f"{other}."))


def _candidates(nested: Nested, place: str) -> Iterator[tuple[str, State]]:
    """Every state dict in a file by its dotted place, and the parts of it that names before dots mark as a network."""
    state = {key: value for key, value in nested.items() if isinstance(value, Tensor)}
    if state:
        yield from _parts(state, place)
    for key, below in nested.items():
        if isinstance(below, dict):
            yield from _candidates(below, f"{place}.{key}" if place else key)


def _parts(state: State, place: str, depth: int = DEEPEST_PREFIX) -> Iterator[tuple[str, State]]:
    yield place, state
    if not depth:
        return
    groups: dict[str, State] = {}
    for key, value in state.items():
        first, _, rest = key.partition(".")
        if rest:
            groups.setdefault(first, {})[rest] = value
    for first, part in groups.items():
        if len(part) == len(state) or OWNERS.fullmatch(first):
            yield from _parts(part, f"{place}.{first}" if place else first, depth - 1)


def recognise(state: State, name: str) -> Recognised:
    """The network that a state dict is of, and what it takes and gives.

    Raises:
        BundleError: none that is known, or one whose weights don't fit.
    """
    state = {PREFIXES.sub("", key): tensor.float() for key, tensor in state.items() if _is_weight(key, tensor)}
    for recogniser in RECOGNISERS:
        try:
            found = recogniser(dict(state))
        except (KeyError, IndexError, ValueError, ZeroDivisionError) as fault:
            reason = str(fault) if isinstance(fault, ValueError) else "parameters are missing, or of odd shapes"
            raise BundleError(f"{name} looks like a known generator, but can't be taken for one: {reason}") from fault
        if found is not None:
            return _fitting(found, name)
    some = ", ".join(list(state)[:3])
    raise BundleError(
        f"{name} holds no generator that is known here; its parameters begin with {some or 'nothing'}. Known are the "
        f"ResNet and U-Net of pytorch-CycleGAN-and-pix2pix, MSRResNet, RRDBNet and SRVGGNetCompact of BasicSR and "
        f"Real-ESRGAN, fast neural style's transform network, Pytorch_Retinaface's detectors, torchvision's Mask, "
        f"Keypoint and Faster R-CNN, and CenterNet's hourglasses"
    )


def _is_weight(key: str, tensor: Tensor) -> bool:
    return key.endswith(COUNTER) or tensor.is_floating_point() or tensor.dim() > 0


def _fitting(found: Recognised, name: str) -> Recognised:
    """The same, its state whole; shapes are compared before anything is allocated."""
    try:
        ours = outline(found.network, found.arguments, len(found.state)).state_dict()
    except OutlineError as fault:
        raise BundleError(f"{name} looks like {found.family}, but no network is of its shapes: {fault}") from fault
    wanted, state = ({k: v for k, v in some.items() if not k.endswith(COUNTER)} for some in (ours, found.state))
    if odd := misfits(wanted, state):
        raise BundleError(
            f"{name} looks like {found.family}, but {odd[0]} (and {len(odd) - 1} more): a variant of it that is not "
            "known here"
        )
    counters = {k: torch.zeros((), dtype=torch.long) for k in ours if k.endswith(COUNTER)}
    return dataclasses.replace(found, state={**state, **counters})
