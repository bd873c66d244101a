"""How good the demo's translations are: PSNR against the true photographs, beside the plainest translator's."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recast.jobs.samples.flat_colours import FlatColours
from recast.models.metrics.psnr import psnr_db
from recast.pipeline import storage
from recast.pipeline.images.bounds import OWN_MAX_BYTES
from recast.pipeline.output.index import PLACE, current, image_bytes
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.inventory import Source, inventory


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean PSNR over the held-out pictures, in dB."""

    translated_db: float
    baseline_db: float

    @property
    def beaten(self) -> bool:
        return self.translated_db > self.baseline_db


def score(train: str, targets: str, translated: str) -> Scores:
    """Score a translated output.

    Args:
        train: folder of `photo | labels` pictures, from which the baseline learns its colours.
        targets: tar of the true photographs, by the names of the inputs.
        translated: the output, made from the `labels.tar` beside the targets.
    """
    baseline = FlatColours(_halves(picture) for picture in _pictures(train).values())
    truth = _pictures(targets)
    fs, output = storage.filesystem(translated)
    rows = current(fs, output, ["key", "status", "source", *PLACE]).to_pylist()
    labels = _pictures(targets.replace("targets.tar", "labels.tar"))
    ours, plain = [], []
    for row in rows:
        key = row["key"]
        ours.append(psnr_db(_rgb(image_bytes(fs, output, row)), truth[key]))
        plain.append(psnr_db(baseline.paint(labels[key]), truth[key]))
    return Scores(float(np.mean(ours)), float(np.mean(plain)))


def _pictures(url: str) -> dict[str, np.ndarray]:
    return {item.key: _rgb(read(item, OWN_MAX_BYTES)) for item in inventory(Source(urls=(url,)))}


def _halves(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels, photo) of a `photo | labels` picture."""
    middle = picture.shape[1] // 2
    return picture[:, middle:], picture[:, :middle]


def _rgb(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
