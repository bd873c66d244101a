"""What can look for regions in images: detectors by name, or by the place of a bundle."""

from collections.abc import Mapping, Sequence

from recast.pipeline import bundles
from recast.pipeline.bundles import Packed
from recast.pipeline.regions.cascades import Cascades
from recast.pipeline.regions.centerface import CenterFace
from recast.pipeline.regions.detectors import Detector
from recast.pipeline.regions.retinaface import RetinaFaceDetector
from recast.pipeline.regions.views import SMALLEST_FACE_PX


def built_detectors(
    names: Sequence[str],
    packed: Mapping[str, Packed] | None = None,
    *,
    scales: Sequence[float] = (),
    mirrored: bool = False,
    smallest_px: float = SMALLEST_FACE_PX,
    device: str = "cpu",
) -> list[Detector]:
    """The detectors of those names; places of bundles among them are fetched, where they aren't `packed`.

    Raises:
        DetectorMissingError: a detector's package is not installed.
        BundleError, StorageError: a bundle can't be used.
    """
    made: list[Detector] = []
    for name in dict.fromkeys(names):
        if name == "centerface":
            threads = 1 if device == "cpu" else 0
            made.append(CenterFace(scales=scales, mirrored=mirrored, smallest_px=smallest_px, threads=threads))
        elif name == "cascades":
            made.append(Cascades())
        elif name != "none":
            bundle = packed[name] if packed else bundles.fetch(name)
            made.append(
                RetinaFaceDetector(bundle, scales=scales, mirrored=mirrored, smallest_px=smallest_px, device=device)
            )
    return made
