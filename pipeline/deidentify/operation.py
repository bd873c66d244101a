"""The operation of a de-identification: as the driver describes it, and as workers build it."""

from collections.abc import Sequence
from dataclasses import dataclass

from recast.models.description import BundleError
from recast.models.digests import short_digest
from recast.pipeline import bundles, storage
from recast.pipeline.bulk.operation import Operation, Operator
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.bundles import Packed
from recast.pipeline.deidentify.secrets.codes import codes_key
from recast.pipeline.deidentify.secrets.names import HiddenNames
from recast.pipeline.deidentify.secrets.seal import Secret, sealing_key
from recast.pipeline.deidentify.settings import Deidentification
from recast.pipeline.output.sidecars import SEALS
from recast.pipeline.regions.detectors import Detector
from recast.pipeline.regions.registry import built_detectors, of_kinds
from recast.pipeline.regions.tables import BoxesError, Compared, RegionTable


def deidentifying(asked: Deidentification, output: str, passcode: Secret | None = None) -> Operation:
    """A de-identification into an output.

    Raises:
        DetectorMissingError: a detector's package is not installed.
        BundleError: a bundle that can't be used for this.
        BoxesError, StorageError: the boxes can't be used, or a place can't be read.
    """
    hides = asked.names == "hmac"
    assert passcode or not (asked.seal or asked.model or hides)
    table = RegionTable(asked.boxes) if asked.boxes else None
    if table is not None and not asked.looks and not table.images:
        raise BoxesError(f"the boxes {asked.boxes} name no image, and no detector looks: nothing could be published")
    packed = {name: bundles.fetch(name) for name in asked.bundles()}
    names = [detector.name for detector in _built(asked, packed, "cpu")] + ([table.name] if table else [])
    deciding, how = list(names), str(asked.replacement.method)
    if asked.model:
        from recast.pipeline.deidentify.replacement.painter import BY_IMAGE, FacePainter  # torch

        painter = FacePainter(packed[asked.model], Secret(b""), consistent_by=asked.consistent_by)
        if painter.action == "passcode" and asked.consistent_by != BY_IMAGE:
            raise BundleError(f"{asked.model} takes each image's own code; it can't be consistent by anything else")
        described = bundles.describe(asked.model)
        deciding, how = [*names, described.digest], f"{described.name} ({described.digest})"
    digest = short_digest("\n".join(deciding).encode())

    def payload() -> AnonymizerPayload:
        fs, path = storage.filesystem(output)
        return AnonymizerPayload(
            asked,
            table,
            packed,
            sealing_key(fs, path, passcode) if passcode and (asked.seal or hides) else None,
            codes_key(fs, path, passcode, fresh=True) if asked.model and passcode else None,
        )

    name = f"{how} over {' and '.join(names)}"
    compared = Compared(table) if table else None
    hidden = HiddenNames(output, passcode) if passcode and hides else None
    return Operation(
        name,
        digest,
        asked.model or "",
        payload,
        fails_closed=True,
        sidecars=(SEALS,),
        renames=hidden.renamed if hidden else None,
        hides=hidden.hidden if hidden else None,
        compared=compared,
    )


@dataclass(frozen=True)
class AnonymizerPayload:
    """Settings, the user's boxes, bundles and keys."""

    asked: Deidentification
    table: RegionTable | None
    packed: dict[str, Packed]
    seal_key: Secret | None
    codes_key: Secret | None

    def operator(self, settings: WorkerSettings) -> Operator:
        # Torch is imported here: a run with nothing to do does without it.
        from recast.pipeline.deidentify.anonymizer import Anonymizer
        from recast.pipeline.deidentify.replacement.painter import FacePainter

        painter = None
        if self.codes_key is not None and self.asked.model:
            painter = FacePainter(
                self.packed[self.asked.model],
                self.codes_key,
                device=settings.device,
                consistent_by=self.asked.consistent_by,
            )
        return Anonymizer(
            detectors=_built(self.asked, self.packed, settings.device),
            table=self.table,
            replacement=self.asked.replacement,
            policy=self.asked.policy,
            painter=painter,
            seal_key=self.seal_key,
            keep_originals=self.asked.seal,
        )


def _built(asked: Deidentification, packed: dict[str, Packed], device: str) -> Sequence[Detector]:
    detectors = built_detectors(
        asked.detectors, packed, scales=asked.scales, mirrored=asked.mirrored, smallest_px=asked.smallest_face,
        device=device, least_score=asked.policy.doubt,
    )  # fmt: skip
    return of_kinds(detectors, asked.kinds)
