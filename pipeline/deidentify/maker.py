"""The maker of a de-identification, as the driver describes it and as workers build it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.bulk.makers import Maker
from pipeline.deidentify.anonymizer import Anonymizer
from pipeline.deidentify.brought import Brought
from pipeline.deidentify.cascades import Cascades
from pipeline.deidentify.centerface import CenterFace
from pipeline.deidentify.detectors import Detector
from pipeline.deidentify.settings import Deidentification

if TYPE_CHECKING:
    from pipeline.bulk.worker import Work


def deidentifying(asked: Deidentification) -> Maker:
    """The maker of a de-identification.

    Raises:
        DetectorMissingError: a detector's package is not installed.
        BoxesError, StorageError: the boxes can't be used.
    """
    brought = Brought(asked.boxes) if asked.boxes else None
    names = [detector.name for detector in _built(asked, threads=1)] + ([brought.name] if brought else [])
    digest = "sha256:" + hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    name = f"{asked.replacement.method} over {' and '.join(names)}"
    return Maker(name, digest, "", lambda: AnonymizerKit(asked, brought))


@dataclass(frozen=True)
class AnonymizerKit:
    """Settings, and the user's boxes."""

    asked: Deidentification
    brought: Brought | None

    def mapper(self, work: "Work") -> Anonymizer:
        return Anonymizer(
            detectors=_built(self.asked, threads=1 if work.device == "cpu" else 0),
            brought=self.brought,
            replacement=self.asked.replacement,
            policy=self.asked.policy,
            keep_originals=work.seal_key is not None,
        )


def _built(asked: Deidentification, threads: int) -> Sequence[Detector]:
    made: list[Detector] = []
    for name in dict.fromkeys(asked.detectors):
        if name == "centerface":
            made.append(CenterFace(scales=asked.scales, mirrored=asked.mirrored, threads=threads))
        elif name == "cascades":
            made.append(Cascades())
    return made
