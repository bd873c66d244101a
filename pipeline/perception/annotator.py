"""What networks see in images, as rows: the operator of `recast annotate`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recast.pipeline.bulk.operation import Operator, Result
from recast.pipeline.images.pictures import Picture, as_rgb8, laid_on
from recast.pipeline.input_errors import InputError
from recast.pipeline.perception.drawing import Drawing, drawn
from recast.pipeline.regions.detectors import Detector, NotFiniteError, numbered
from recast.pipeline.regions.region import Region
from recast.pipeline.sources.inputs import Input


@dataclass(frozen=True, kw_only=True)
class Annotator(Operator):
    """Every network over each picture; what they find stands side by side, best first."""

    detectors: Sequence[Detector]
    draw: Drawing | None = None
    draw_above: float = 0.0
    """Lowest score of what is drawn."""
    limbs: Sequence[tuple[int, int]] = ()
    """Pairs of keypoints that a drawing joins."""

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        return [self._annotated(picture) for picture in pictures]

    def _annotated(self, picture: Picture) -> Result | InputError:
        seen = picture.pixels if picture.alpha is None else laid_on(1, picture.pixels, picture.alpha)
        try:
            regions = self._found(as_rgb8(seen))
        except NotFiniteError as fault:
            return InputError("not-finite", str(fault))
        except InputError as fault:
            return fault
        rows = tuple(region.row(None) for region in regions)
        if self.draw is None:
            return Result(regions=rows)
        try:
            certain = [region for region in regions if region.score >= self.draw_above]
            pixels = drawn(self.draw, seen, certain, self.limbs)
        except InputError as fault:
            return fault
        return Result(picture=Picture(pixels=pixels, notes=picture.notes), regions=rows)

    def _found(self, image: np.ndarray) -> list[Region]:
        """Regions in an image uint8 [H, W, 3]. Raises NotFiniteError and InputError."""
        found = [region for detector in self.detectors for region in detector([image])[0]]
        whole = [numbered(region, *image.shape[:2]) for region in found]
        return sorted(whole, key=lambda region: (-region.score, region.box, region.kind))
