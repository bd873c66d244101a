"""Mask R-CNN learns from what the paper says: samples, offsets, masks and keypoints, each stated anew."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recast.models.losses import mask_rcnn as losses
from recast.models.losses.mask_rcnn import Truth
from recast.models.recipes.ranges import SettingError
from recast.models.recipes.recipe import RawExample
from recast.models.recipes.windows import Silhouette
from tests.models.test_recipes import built, masks_of, photograph, region_of, trained

TRUTH = Truth(
    boxes=torch.tensor([[8.0, 8, 40, 24], [30, 20, 60, 60]]),
    categories=torch.tensor([1, 0]),
    masks=torch.stack([torch.full((8, 8), 255), torch.arange(8).repeat(8, 1) // 4 * 255]).byte(),
    masked=torch.tensor([True, True]),
    points=torch.tensor([[[10.0, 10, 2], [50, 10, 2]], [[33, 23, 1], [40, 40, 0]]]),
)
NOTHING = Truth(boxes=torch.zeros(0, 4), categories=torch.zeros(0).long())


def test_samples_are_at_random_with_a_share_that_holds_things():
    """As many as are asked for where there are enough, and those between the limits are no example of anything."""
    owners = torch.tensor([0, -1, 1, -2, -1, -1, 0, -1, -1, -1])
    draws = torch.tensor([0.9, 0.1, 0.2, 0, 0.8, 0.3, 0.4, 0.2, 0.7, 0.6])
    taken = losses.sample(owners, draws, 6, 0.5)
    assert (taken.positive.tolist(), taken.owners.tolist()) == ([2, 6, 0], [1, 0, 0])
    assert taken.which.tolist() == [2, 6, 0, 1, 7, 5]
    few = losses.sample(owners, draws, 4, 0.25)
    assert (few.positive.tolist(), len(few.which)) == ([2], 4)
    assert losses.sample(owners[:0], draws[:0], 4, 0.5).size == 1


def test_anchors_hold_what_they_overlap_by_seven_tenths_or_best():
    """The best anchor of a thing holds it however small the overlap; of less than three tenths it is background."""
    anchors = torch.tensor([[24.0, 16, 32, 16], [24, 16, 32, 26], [45, 40, 20, 20], [80, 80, 8, 8], [24, 16, 30, 9]])
    taken = losses.sampled_anchors(anchors, TRUTH, torch.zeros(5), 10)
    assert sorted(zip(taken.positive.tolist(), taken.owners.tolist(), strict=True)) == [(0, 0), (2, 1)]
    assert taken.which.tolist()[2:] == [3]
    regions = losses.sampled_regions(torch.tensor([[8.0, 8, 40, 23], [8, 8, 20, 24]]), TRUTH, torch.zeros(2), 4)
    assert (regions.positive.tolist(), regions.which.tolist()) == ([0], [0, 1])


def test_what_is_right_costs_next_to_nothing_and_what_is_off_its_error():
    """An offset of 0.2 in one of four numbers costs 0.2 less half of a ninth, over the sample's size."""
    anchors = torch.tensor([[24.0, 16, 32, 16], [80, 80, 8, 8]])
    taken = losses.sampled_anchors(anchors, TRUTH, torch.zeros(2), 4)
    logits, offsets = torch.tensor([20.0, -20]), torch.zeros(2, 4)
    sure, off = losses.proposal_losses(logits, offsets, anchors, taken, TRUTH)
    assert (sure < 1e-6, off.item()) == (True, 0)
    offsets[0, 1] = 0.2
    assert losses.proposal_losses(-logits, offsets, anchors, taken, TRUTH)[0].item() == pytest.approx(20)
    off = losses.proposal_losses(logits, offsets, anchors, taken, TRUTH)[1]
    assert off.item() == pytest.approx((0.2 - 1 / 18) / 2)


def test_a_region_learns_the_box_of_its_own_class():
    rois = torch.tensor([[8.0, 8, 40, 24], [70, 70, 80, 80]])
    taken = losses.sampled_regions(rois, TRUTH, torch.zeros(2), 4)
    logits = torch.tensor([[0.0, 0, 30], [30, 0, 0]])
    offsets = torch.full((2, 3, 4), 9.0)
    offsets[0, 2] = torch.tensor([0.0, 0, 0, 5 * math.log(1.1)])
    wrong, off = losses.region_losses(logits, offsets, rois, taken, TRUTH)
    assert wrong < 1e-6
    assert off.item() == pytest.approx((5 * math.log(1.1) - 1 / 18) / 2, abs=1e-6)


def test_masks_are_looked_up_where_the_bins_of_a_region_are():
    """The right half of the second thing, in a region that is its box moved by half its width."""
    box = TRUTH.boxes[1]
    moved = box + torch.tensor([15.0, 0, 15, 0])
    wanted = losses.mask_targets(TRUTH.masks[1:].repeat(2, 1, 1), box.repeat(2, 1), torch.stack([box, moved]), 6)
    assert torch.equal(wanted[0], torch.arange(6).repeat(6, 1) // 3 * 1.0)
    assert torch.equal(wanted[1], 1.0 - torch.arange(6).repeat(6, 1) // 3)
    maps = torch.full((2, 3, 6, 6), 77.0)
    maps[:, 1] = torch.logit(wanted, 1e-6)
    owners, rois = torch.tensor([1, 1]), torch.stack([box, moved])
    assert losses.mask_loss(maps, rois, owners, TRUTH) < 1e-5
    unknown = Truth(boxes=TRUTH.boxes, categories=TRUTH.categories, masks=TRUTH.masks, masked=torch.zeros(2).bool())
    assert losses.mask_loss(-maps, rois, owners, unknown) == 0


def test_keypoints_are_one_bin_each_and_those_unseen_or_outside_are_not_asked_for():
    rois, owners = TRUTH.boxes, torch.tensor([0, 1])
    maps = torch.zeros(2, 2, 4, 4)
    maps[0, 0, 0, 0] = maps[1, 0, 0, 0] = 50  # the first point of each lies in its first bin; the others don't count
    assert losses.point_loss(maps, rois, owners, TRUTH) < 1e-6
    assert losses.point_loss(0 * maps, rois, owners, TRUTH).item() == pytest.approx(math.log(16))
    assert losses.point_loss(maps[:0], rois[:0], owners[:0], TRUTH) == 0


def examples(recipe, things=1, count=2, augment=True):
    regions = region_of(recipe)[:things]
    raw = RawExample((photograph(),), regions, masks=masks_of(recipe, regions))
    made = [recipe.example(raw, np.random.default_rng(n), augment=augment) for n in range(count)]
    return {name: torch.stack([each[name] for each in made]) for name in made[0]}


@pytest.mark.parametrize("learned", ["masks", "keypoints", "boxes"])
def test_a_batch_of_negatives_alone_trains_and_reaches_every_parameter(learned):
    torch.manual_seed(0)
    recipe = built("mask_rcnn", learned=learned)
    _, scalars = trained(recipe, examples(recipe, things=0), 2)
    assert all(math.isfinite(value) for said in scalars for value in said.values())
    assert scalars[0]["F boxes"] == scalars[0].get(f"F {learned}", 0) == 0
    assert all("momentum_buffer" in recipe.optimizers["F"].state[p] for p in recipe.networks["F"].parameters())


def test_a_few_steps_learn():
    torch.manual_seed(0)
    recipe = built("mask_rcnn", width=8, channels=8, learning_rate=0.01)
    batch = examples(recipe, augment=False)
    _, scalars = trained(recipe, batch, 30)
    for name in ("F proposals", "F classes", "F masks"):
        assert scalars[-1][name] < 0.85 * scalars[0][name]
    preview = recipe.preview(batch, recipe.networks["F"].eval())
    assert preview.output.shape == preview.target.shape == (2, 3, 64, 64)


def test_masks_are_cut_and_mirrored_with_their_things():
    """What is bright in a square is what the mask over its box says, however it is cut."""
    recipe = built("mask_rcnn", colour_jitter=0.0)
    image, inside = np.zeros((120, 140, 3), np.uint8), np.zeros((60, 50), bool)
    inside[:20], inside[:, :10] = True, True
    image[30:90, 30:80][inside] = 255
    raw = RawExample((image,), region_of(recipe), masks=(Silhouette(pixels=inside, left=30, top=30),))
    seen = set()
    for seed in range(12):
        example = recipe.example(raw, np.random.default_rng(seed))
        box = example["things"][0, :4]
        if torch.isnan(box[0]):
            continue
        left, top, right, bottom = box.round().int().tolist()
        part = example["x"][:1, top:bottom, left:right].float() / 255
        mask = F.interpolate(example["masks"][:1, None].float() / 255, part.shape[1:], mode="area")[0]
        assert example["masked"].tolist() == [True] + [False] * 5
        assert (part - mask).abs().mean() < 0.12
        seen.add(bool(mask[0, -1, 0] < mask[0, -1, -1]))
    assert seen == {False, True}


def test_frozen_norms_stay_and_settings_that_can_not_be_are_refused():
    torch.manual_seed(0)
    recipe = built("mask_rcnn", frozen_norms=True)
    norm = recipe.networks["F"].backbone.body.bn1
    before = [value.clone() for value in norm.state_dict().values()]
    trained(recipe, examples(recipe), 2)
    assert all(torch.equal(one, other) for one, other in zip(before, norm.state_dict().values(), strict=True))
    assert recipe.mixing() == []
    with pytest.raises(SettingError, match="size_px is 100; it must be a multiple of 32"):
        built("mask_rcnn", size_px=100)
