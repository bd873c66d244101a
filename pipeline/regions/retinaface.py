"""RetinaFace as a detector: a bundle that `recast train retinaface` made, or a public file imported as one."""

from collections.abc import Sequence

import numpy as np
import torch

from recast.models.description import BundleError
from recast.models.networks.retinaface import anchors, decoded
from recast.models.perception.boxes import clipped
from recast.pipeline.bundles import Packed
from recast.pipeline.input_errors import raised_by_network
from recast.pipeline.regions.detectors import LEAST_CANDIDATE, DetectorSettings, FaceNetwork, finite, name_of
from recast.pipeline.regions.views import SMALLEST_FACE_PX

MOST_CANDIDATES = 750
"""Boxes of one image, before those that overlap better ones go (Pytorch_Retinaface: 750)."""


class RetinaFaceDetector(FaceNetwork):
    """Faces by anchors on a feature pyramid."""

    def __init__(
        self,
        packed: Packed,
        *,
        scales: Sequence[float] = (),
        mirrored: bool = False,
        smallest_px: float = SMALLEST_FACE_PX,
        device: str = "cpu",
    ) -> None:
        """Raises BundleError for a bundle of another task."""
        bundle, network = packed.unpack()
        if bundle.descriptor.task != "detect":
            raise BundleError(f"{packed.url} is a bundle for `recast {bundle.descriptor.task}`, not a detector")
        super().__init__("retinaface", scales, mirrored=mirrored, smallest_px=smallest_px)
        self.name = name_of(bundle)
        self._network, self._device = network.to(device), device

    @torch.inference_mode()
    def _rows(self, batch: np.ndarray) -> list[np.ndarray]:
        images = torch.from_numpy(batch).to(self._device).permute(0, 3, 1, 2).float()
        with raised_by_network():
            boxes, logits, landmarks = self._network(images)
        scores = logits.softmax(-1)[..., 1]
        finite(self._label, scores.cpu().numpy())
        placed = anchors(*batch.shape[1:3]).to(self._device)
        found = []
        for n in range(len(batch)):
            best, which = scores[n].topk(min(MOST_CANDIDATES, scores.shape[1]))
            which, best = which[best >= LEAST_CANDIDATE], best[best >= LEAST_CANDIDATE]
            corners, points = decoded(boxes[n, which], landmarks[n, which], placed[which])
            found.append(torch.cat([clipped(corners, *batch.shape[1:3]), points, best[:, None]], 1).cpu().numpy())
        return found


def build(packed: Packed, settings: DetectorSettings) -> RetinaFaceDetector:
    """The detector that a bundle holds. Raises BundleError."""
    return RetinaFaceDetector(
        packed,
        scales=settings.scales,
        mirrored=settings.mirrored,
        smallest_px=settings.smallest_px,
        device=settings.device,
    )
