"""Mask R-CNN and Keypoint R-CNN give what a plain statement of torchvision's gives, from files under either names."""

import re

import pytest
import torch

from recast.models import bundle, coco_names
from recast.models.description import BundleError
from recast.models.foreign.registry import identify
from recast.models.networks.mask_rcnn import MaskRCNN
from tests.models.perception.rcnn_statement import looked

SMALL = {"width": 4, "channels": 8, "hidden": 24}


def as_saved_before(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Under the names of before torchvision 0.13, with frozen batch norms, which have no counters."""

    def old(key: str) -> str:
        key = re.sub(r"(blocks\.\d)\.0\.", r"\1.", key).replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        return re.sub(r"mask_head\.(\d)\.0\.", lambda n: f"mask_head.mask_fcn{int(n[1]) + 1}.", key)

    return {old(key): value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def drawn(**arguments) -> dict[str, torch.Tensor]:
    """Weights under which many things are found: logits spread, running statistics that are none of the defaults."""
    torch.manual_seed(1)
    state = MaskRCNN(**SMALL, **arguments).state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            value.normal_(0, 0.1)
        elif name.endswith(("cls_score.weight", "cls_logits.weight", "kps_score_lowres.weight")):
            value.mul_(8)
        elif name.endswith("mask_fcn_logits.weight"):
            value.mul_(30)
    return state


@pytest.mark.parametrize(
    ("arguments", "eps"),
    [({"categories": 3}, 1e-5), ({"categories": 1, "masks": False, "points": 17}, 0.0)],
    ids=["masks", "points"],
)
def test_results_are_those_of_the_plain_statement(arguments, eps):
    """Boxes, scores, categories, masks and points, in an image whose sides are no multiple of 32."""
    saved = as_saved_before(drawn(**arguments))
    found = identify(saved, "model.pth")
    assert (found.network, found.arguments["norm_eps"]) == ("mask_rcnn", eps)
    network = bundle.built("generator", found.network, found.arguments).eval()
    network.load_state_dict(found.state)
    image = torch.rand(3, 75, 100, generator=torch.Generator().manual_seed(2))
    wanted = looked(saved, image, eps, floor=0.3, shapes=6)
    (ours,) = network.found(image[None], floor=0.3)
    assert len(wanted) == len(ours.scores) >= 5
    torch.testing.assert_close(ours.scores, torch.tensor([each["score"] for each in wanted]), atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.boxes, torch.tensor([each["box"] for each in wanted]), atol=2e-3, rtol=0)
    assert (ours.categories + 1).tolist() == [each["category"] for each in wanted]
    name, shapes = ("points", ours.points) if arguments.get("points") else ("mask", ours.masks)
    torch.testing.assert_close(shapes[:6], torch.stack([each[name] for each in wanted[:6]]), atol=1e-2, rtol=0)


def test_an_image_is_seen_alike_alone_and_among_others():
    network = MaskRCNN(**SMALL, categories=2).eval()
    network.load_state_dict(drawn(categories=2))
    images = torch.rand(3, 3, 64, 64)
    for together, image in zip(network.found(images, 0.3), images, strict=True):
        (alone,) = network.found(image[None], 0.3)
        assert torch.equal(together.boxes, alone.boxes)
        assert torch.equal(together.masks, alone.masks)


def test_what_is_no_number_is_not_passed_over():
    network = MaskRCNN(**SMALL, categories=2).eval()
    with pytest.raises(FloatingPointError, match="not finite"):
        network.found(torch.full((1, 3, 64, 64), float("nan")), 0.05)
    network.roi_heads.box_predictor.cls_score.bias.data[1] = float("inf")
    with pytest.raises(FloatingPointError, match="not finite"):
        network.found(torch.rand(1, 3, 64, 64), 0.05)


def test_a_public_file_is_known_by_its_shapes_and_the_second_version_by_its_names():
    """COCO's numbers have gaps, frozen norms of the public weights add nothing, and the licence is named."""
    found = identify(as_saved_before(drawn(categories=90)), "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth")
    assert found.arguments["norm_eps"] == 0.0
    assert "BSD-3-Clause" in found.family
    assert found.note == ""
    looks = found.descriptor.looks
    assert [c.id for c in looks.categories] == list(range(1, 91))
    assert (looks.categories[17].name, looks.categories[11].name) == ("dog", "class 12")
    second = identify(drawn(categories=90, version=2), "v2.pth")
    assert second.arguments["version"] == 2
    assert second.arguments["norm_eps"] == 1e-5
    people = identify(as_saved_before(drawn(categories=1, masks=False, points=17)), "keypoints.pth")
    assert people.descriptor.looks.points == coco_names.POINTS
    assert [c.name for c in people.descriptor.looks.categories] == ["person"]


def test_a_fine_tuned_file_says_what_it_leaves_open_and_a_variant_is_refused():
    tuned = identify(as_saved_before(drawn(categories=1)), "tuned.pth")
    assert "what its categories are called is for you to say: --categories" in tuned.note
    odd = as_saved_before(drawn(categories=1))
    del odd["backbone.body.layer3.5.conv1.weight"]
    with pytest.raises(BundleError, match="odd.pth looks like"):
        identify(odd, "odd.pth")
