"""The operation of an annotation: as the driver describes it, and as workers build it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from recast.models.description import Bundle, BundleError
from recast.models.digests import short_digest
from recast.models.looks import Looks
from recast.pipeline import bundles
from recast.pipeline.bulk.operation import Operation, Operator
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.bundles import Packed
from recast.pipeline.checked import CHECKED, documented
from recast.pipeline.perception.drawing import IDS, RULES, Drawing, refused
from recast.pipeline.regions.registry import PROVIDERS, built_detectors, named


@documented
@checked(frozen=True, kw_only=True, config=CHECKED)
class Annotation:
    """What looks at the images. Each field is an option of the command line, with its docstring as help."""

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    """A bundle that says what it looks for, or of `recast train retinaface`; or centerface or cascades. May be given
    several times: all of them look at each image in one pass."""
    draw: Drawing | None = None
    """Also write a picture of what was found, under the image's key. labels: 8-bit grey, the category's number, 0 for
    nothing; instances: 16-bit grey, the number of the thing from 1; both fill boxes where a model gives no masks;
    pose: stick figures on black; overlay: the image with what was found, for people."""
    draw_above: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Lowest score of what is drawn. Rows have what scores less, too, down to what the model reports."""

    def deciding(self, known: Sequence[Bundle | None]) -> dict[str, Any]:
        """As settings of the job, in JSON's types, without places; the categories go with the rows for their readers.

        Args:
            known: as `described` gives it.
        """
        categories = {category.id: category.name for each in _looks(known) if each for category in each.categories}
        drawing = {"draw": self.draw, "draw_above": self.draw_above, "drawing": RULES} if self.draw else {}
        return {"categories": [[number, name] for number, name in sorted(categories.items())], **drawing}


def described(asked: Annotation) -> list[Bundle | None]:
    """What each model's bundle says of itself; None for a detector without one. Raises BundleError, StorageError."""
    return [None if name in PROVIDERS else bundles.describe(name) for name in asked.models]


def annotating(asked: Annotation, known: Sequence[Bundle | None], *, format: str) -> Operation:
    """An annotation whose pictures, if any, are written in that format. Networks are built only when there is work.

    Raises:
        DetectorMissingError: a detector's package is not installed.
        BundleError: a bundle that finds nothing, or that can't be drawn so.
    """
    if asked.draw in IDS and format != "png":
        raise BundleError(f"--draw {asked.draw}: its values are numbers, which {format} would change; use --format png")
    if asked.draw and (why := refused(asked.draw, _looks(known))):
        raise BundleError(f"--draw {asked.draw}: {why}")
    names = list(dict.fromkeys(map(named, asked.models, known)))

    def payload() -> AnnotatorPayload:
        packed = {name: bundles.fetch(name) for name in asked.models if name not in PROVIDERS}
        built_detectors(asked.models, packed)  # what can't be used is refused here, and not once in each worker
        return AnnotatorPayload(asked, packed, tuple(limb for each in _looks(known) if each for limb in each.limbs))

    return Operation(
        " and ".join(names),
        short_digest("\n".join(names).encode()),
        "",
        payload,
        apart="a second output, joined by key, is the way to look with another model",
    )


def _looks(known: Sequence[Bundle | None]) -> list[Looks | None]:
    return [each.descriptor.looks if each else None for each in known]


@dataclass(frozen=True)
class AnnotatorPayload:
    """Settings and bundles."""

    asked: Annotation
    packed: dict[str, Packed]
    limbs: Sequence[tuple[int, int]]

    def operator(self, settings: WorkerSettings) -> Operator:
        from recast.pipeline.perception.annotator import Annotator  # torch: a run with nothing to do does without it

        detectors = built_detectors(self.asked.models, self.packed, device=settings.device)
        return Annotator(detectors=detectors, draw=self.asked.draw, draw_above=self.asked.draw_above, limbs=self.limbs)
