"""A network that looks as a detector: what it is given, and what becomes of what it finds."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recast.models.description import BundleError
from recast.models.descriptor import Descriptor
from recast.models.looks import Category, Looks
from recast.models.perception.findings import Findings, finite
from recast.pipeline.regions import masks
from recast.pipeline.regions.detectors import DetectorSettings, NotFiniteError
from recast.pipeline.regions.looking import build, pasted

LOOKS = Looks(categories=(Category(id=7, name="person"), Category(id=9, name="plate")), points=("a", "b"), size_px=40)


class Fixed(torch.nn.Module):
    """Finds the same everywhere, and keeps what it was given."""

    def __init__(self, found: Findings) -> None:
        super().__init__()
        self.findings, self.given = found, []

    def found(self, images, floor):
        self.given.append((images.clone(), floor))
        finite(self.findings.scores)
        return [self.findings for _ in images]


def detector(network, settings=None, **changes):
    descriptor = Descriptor(task="annotate", looks=LOOKS, **changes)
    bundle = SimpleNamespace(descriptor=descriptor, network="fixed", digest="sha256:1", task="annotate")
    packed = SimpleNamespace(url="fixed", unpack=lambda: (bundle, network))
    return build(packed, settings or DetectorSettings())


def findings(**changes):
    facts = {
        "boxes": torch.tensor([[4.0, 2.0, 20.0, 10.0], [30.0, 0.0, 50.0, 30.0], [8.0, 3.0, 8.0, 9.0]]),
        "scores": torch.tensor([0.9, 0.5, 0.4]),
        "categories": torch.tensor([1, 0, 0]),
        "points": torch.tensor([[[4.0, 2.0, 0.7], [0.0, 0.0, 0.1]]] * 3),
    }
    return Findings(**(facts | changes))


def test_an_image_is_fitted_in_and_what_is_found_comes_back_in_its_own_pixels():
    """100 x 50 px are given as 40 x 20, padded to multiples of 32; boxes are cut at the edges, empty ones go."""
    network = Fixed(findings())
    (found,) = detector(network, size_multiple=32, value_range=(-1.0, 1.0))([np.full((50, 100, 3), 255, np.uint8)])
    ((given, floor),) = network.given
    assert given.shape == (1, 3, 32, 64)
    assert floor == LOOKS.score_floor
    assert given[..., :20, :40].min() == pytest.approx(1)
    assert (given[..., 20:, :] == -1).all()
    assert (given[..., 40:] == -1).all()
    plate, person = found
    assert (plate.kind, plate.category, plate.box) == ("plate", 9, (10.0, 5.0, 50.0, 25.0))
    assert plate.points == pytest.approx((10.0, 5.0, 0.7, 0.0, 0.0, 0.1))
    assert (person.kind, person.box) == ("person", (75.0, 0.0, 100.0, 50.0))
    assert plate.fills_box, "an ellipse would show its corners"
    assert plate.detector == "fixed sha256:1"


def test_values_that_are_no_numbers_are_an_error_and_not_nothing():
    for spoilt in (
        findings(scores=torch.tensor([0.9, float("nan"), 0.4])),
        findings(boxes=torch.full((3, 4), torch.inf)),
    ):
        with pytest.raises(NotFiniteError, match="not finite"):
            detector(Fixed(spoilt))([np.zeros((8, 8, 3), np.uint8)])


@pytest.mark.parametrize(("asked", "given"), [(None, 0.05), (0.15, 0.05), (0.01, 0.01)])
def test_a_bundles_floor_hides_nothing_from_who_asks_for_less(asked, given):
    """A policy that holds images from a score on must be told of all that scores so much."""
    network = Fixed(findings())
    detector(network, DetectorSettings(least_score=asked))([np.zeros((8, 8, 3), np.uint8)])
    assert network.given[0][1] == given


def test_a_bundle_that_finds_nothing_is_refused():
    with pytest.raises(BundleError, match="fixed finds nothing in images"):
        detector(torch.nn.Identity())


def test_a_mask_is_pasted_pixel_by_pixel_as_it_lies_in_its_box():
    """Between four values of the mask, at the middle of each pixel; by a plain loop."""
    rng = np.random.default_rng(0)
    mask, box = torch.from_numpy(rng.random((7, 7), np.float32)), np.array([3.3, 1.2, 17.8, 12.9], np.float32)
    want = np.zeros((15, 20), bool)
    padded = np.pad(mask.numpy(), 1)
    for y in range(15):
        for x in range(20):
            u = (x + 0.5 - box[0]) / (box[2] - box[0]) * 7 - 0.5
            v = (y + 0.5 - box[1]) / (box[3] - box[1]) * 7 - 0.5
            if -1 < u < 7 and -1 < v < 7:
                left, top = int(np.floor(u)), int(np.floor(v))
                part, fx, fy = padded[top + 1 : top + 3, left + 1 : left + 3], u - left, v - top
                want[y, x] = np.array([1 - fy, fy]) @ part @ np.array([1 - fx, fx]) >= 0.5
    assert np.array_equal(masks.decoded(pasted(mask, box, 15, 20), 15, (0, 0, 20, 15)), want)
    whole = pasted(torch.ones(28, 28), np.array([0.0, 0.0, 4000.0, 3000.0]), 3000, 4000)
    assert masks.area(whole) > 0.99 * 12e6
