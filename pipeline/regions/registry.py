"""What can look for regions in images: providers by name, and by the network that a bundle holds.

A new provider is a file beside this one, with a function `build`, and one line below.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from recast.models.description import Bundle, BundleError, read_description
from recast.pipeline.regions import cascades, centerface
from recast.pipeline.regions.detectors import Detector, DetectorSettings, OfKinds, name_of
from recast.pipeline.regions.views import SMALLEST_FACE_PX

if TYPE_CHECKING:
    from recast.pipeline.bundles import Packed

NONE = "none"
"""The name that stands for no detector."""
PROVIDERS: dict[str, Callable[[DetectorSettings], Detector]] = {
    "centerface": centerface.build,
    "cascades": cascades.build,
}
"""Detectors that need no bundle, by the name that a user gives."""
NETWORKS: dict[str, str] = {
    "retinaface": "recast.pipeline.regions.retinaface",
}
"""Detectors that a bundle holds: the network's name in `recast.models.networks`, and the module whose `build` takes the
bundle and the settings. It is imported when it is asked for: commands start without torch."""
LOOKING = "recast.pipeline.regions.looking"
"""The same for every other network whose bundle says what it looks for."""


def built_detectors(
    names: Sequence[str],
    packed: "Mapping[str, Packed] | None" = None,
    *,
    scales: Sequence[float] = (),
    mirrored: bool = False,
    smallest_px: float = SMALLEST_FACE_PX,
    device: str = "cpu",
    least_score: float | None = None,
) -> list[Detector]:
    """The detectors of those names; a name that is no provider's is the place of a bundle, fetched if not `packed`.

    Raises:
        DetectorMissingError: a detector's package is not installed.
        BundleError, StorageError: a bundle can't be used, or holds a network that no provider knows.
    """
    settings = DetectorSettings(
        scales=tuple(scales), mirrored=mirrored, smallest_px=smallest_px, device=device, least_score=least_score
    )
    return [
        PROVIDERS[name](settings) if name in PROVIDERS else _of_bundle(name, packed, settings)
        for name in dict.fromkeys(names)
        if name != NONE
    ]


def _of_bundle(name: str, packed: "Mapping[str, Packed] | None", settings: DetectorSettings) -> Detector:
    """The detector that the bundle at a place holds. Raises BundleError, StorageError."""
    from recast.pipeline import bundles

    bundle = packed[name] if packed else bundles.fetch(name)
    detector: Detector = import_module(_module(name, read_description(bundle.description))).build(bundle, settings)
    return detector


def _module(name: str, described: Bundle) -> str:
    """Where the detector of a bundle is built. Raises BundleError for one that is none."""
    module = NETWORKS.get(described.network, LOOKING if described.descriptor.looks else "")
    if not module:
        raise BundleError(
            f"{name} is not a detector: it holds the network {described.network}. Choose {', '.join(PROVIDERS)}, or a "
            f"bundle of {' or '.join(NETWORKS)}, or one that says what it looks for"
        )
    return module


def named(name: str, described: Bundle | None) -> str:
    """What a detector calls itself, without its network: a provider by its name, or the bundle that is at that place.

    Raises:
        DetectorMissingError, BundleError: as `built_detectors`.
    """
    if described is None:
        return PROVIDERS[name](DetectorSettings()).name
    _module(name, described)
    return name_of(described)


def of_kinds(detectors: Sequence[Detector], kinds: Sequence[str]) -> list[Detector]:
    """The detectors, of which only regions of some kinds count; all where no kinds are named.

    Raises:
        BundleError: a kind that no detector finds, or a detector that finds none of the kinds.
    """
    if not kinds:
        return list(detectors)
    known = list(dict.fromkeys(kind for detector in detectors for kind in detector.kinds))
    for kind in kinds:
        if kind not in known:
            raise BundleError(f"--kinds: nothing here finds {kind!r}; what is found is {', '.join(known) or 'nothing'}")
    for detector in detectors:
        if not set(kinds) & set(detector.kinds):
            raise BundleError(
                f"--kinds leaves nothing to {detector.name}, which finds {', '.join(detector.kinds)}: name one of "
                "them, too, or leave that detector out"
            )
    return [detector if set(detector.kinds) <= set(kinds) else OfKinds(detector, kinds) for detector in detectors]
