"""Boxes: overlaps, codes and matching are what the papers say; NMS is the sequential rule, stated in plain numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.models.perception import boxes as b
from recast.pipeline.regions.region import suppressed


def random_boxes(count, seed=0, side=40.0):
    draws = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=draws) * side
    return torch.cat([corner, corner + 1 + torch.rand(count, 2, generator=draws) * side / 2], 1)


def overlap(one, other):
    across = max(min(one[2], other[2]) - max(one[0], other[0]), 0)
    down = max(min(one[3], other[3]) - max(one[1], other[1]), 0)
    both = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return across * down / max(both - across * down, 1e-9)


# Whole corners and a limit that no fraction of small whole areas comes near, so that float32 decides as numbers do.
BOXES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 9), st.integers(0, 9), st.integers(0, 3),
              st.integers(0, 2)),
    max_size=14,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(rows=BOXES, limit=st.sampled_from([0.12345, 0.31415, 0.5, 0.71234]), by_class=st.booleans(), block=st.booleans())
def test_nms_is_the_sequential_rule(rows, limit, by_class, block):
    """Also where scores are equal, boxes have no area, and they are compared block by block."""
    boxes = [(x, y, x + w, y + h) for x, y, w, h, _, _ in rows]
    scores, classes = [row[4] / 4 for row in rows], [row[5] * by_class for row in rows]
    kept = []
    for n in sorted(range(len(rows)), key=lambda n: -scores[n]):
        if all(overlap(boxes[n], boxes[k]) < limit or classes[n] != classes[k] for k in kept):
            kept.append(n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(b, "NMS_BLOCK", 3 if block else 1024)
        found = b.nms(
            torch.tensor(boxes).float().view(-1, 4),
            torch.tensor(scores).float(),
            limit,
            torch.tensor(classes).long() if by_class else None,
        )
    assert found.tolist() == kept


@pytest.mark.parametrize("count", [700, 2500])
def test_nms_of_many_boxes_keeps_what_the_regions_rule_keeps(count):
    """The rule that detectors' regions go by without torch, in one block and in several."""
    boxes = random_boxes(count, side=150)
    scores = torch.rand(count, generator=torch.Generator().manual_seed(1)).mul(50).round() / 50
    kept = b.nms(boxes, scores, 0.4)
    assert 100 < len(kept) < count
    np.testing.assert_array_equal(kept.numpy(), suppressed(boxes.numpy(), scores.numpy(), 0.4))


def test_a_chain_of_boxes_keeps_every_other_one():
    """Each rivals its neighbours alone: the most rounds that the fixed point can take."""
    left = torch.arange(101) * 4.0
    boxes = torch.stack([left, left * 0, left + 10, left * 0 + 10], 1)
    assert b.nms(boxes, -left, 0.4).tolist() == list(range(0, 101, 2))


@settings(max_examples=50, deadline=None)
@given(rows=BOXES)
def test_iou_is_shared_by_joint_area(rows):
    boxes = [(x, y, x + w, y + h) for x, y, w, h, _, _ in rows]
    found = b.iou(torch.tensor(boxes).float().view(-1, 4), torch.tensor([[3.0, 2, 9, 11]]))
    assert found[:, 0].tolist() == pytest.approx([overlap(box, (3, 2, 9, 11)) for box in boxes])


def test_boxes_the_wrong_way_round_have_no_area_and_share_none():
    wrong = torch.tensor([[5.0, 5, 2, 9]])
    assert b.areas(wrong).item() == 0
    assert b.iou(wrong, torch.tensor([[0.0, 0, 9, 9], [5.0, 5, 2, 9]])).tolist() == [[0, 0]]


def test_codes_go_both_ways_and_are_the_papers():
    anchors = torch.tensor([[50.0, 60, 20, 40]])
    offsets = b.encoded(torch.tensor([[45.0, 50, 65, 110]]), anchors, (0.1, 0.2))
    torch.testing.assert_close(offsets, torch.tensor([[5 / 2.0, 20 / 4.0, 0.0, math.log(1.5) / 0.2]]))
    boxes, placed = random_boxes(50), torch.rand(50, 4, generator=torch.Generator().manual_seed(2)) * 30 + 1
    back = b.decoded(b.encoded(boxes, placed, (0.1, 0.2)), placed, (0.1, 0.2), 1000 / 16)
    torch.testing.assert_close(back, boxes, rtol=1e-4, atol=1e-3)
    assert torch.isfinite(b.encoded(torch.tensor([[5.0, 5, 5, 5]]), anchors, (1.0, 1.0))).all()


def test_a_wild_offset_grows_a_box_so_far_only():
    grown = b.decoded(torch.tensor([[0.0, 0, 900, 0]]), torch.tensor([[0.0, 0, 16, 16]]), (1.0, 1.0), 1000 / 16)
    torch.testing.assert_close(grown, torch.tensor([[-500.0, -8, 500, 8]]))


def test_boxes_are_cut_at_the_images_edges():
    cut = b.clipped(torch.tensor([[-3.0, 4, 200, 60], [120.0, 70, 130, 90]]), 50, 100)
    assert cut.tolist() == [[0, 4, 100, 50], [100, 50, 100, 50]]


OVERLAPS = torch.tensor([
    [0.8, 0.1, 0.0, 0.0],
    [0.5, 0.5, 0.0, 0.0],
    [0.2, 0.4, 0.0, 0.0],
    [0.2, 0.1, 0.0, 0.0],
    [0.6, 0.5, 0.1, 0.0],
])  # fmt: skip


def test_anchors_match_by_two_thresholds():
    assert b.matched(OVERLAPS, 0.5).tolist() == [0, 0, -1, -1, 0]
    assert b.matched(OVERLAPS, 0.7, 0.3).tolist() == [0, b.BETWEEN, b.BETWEEN, b.NONE, b.BETWEEN]


def test_each_box_takes_its_first_best_anchor_and_the_last_box_a_shared_one():
    owner = b.matched(OVERLAPS, 0.7, 0.3)
    assert b.with_best(owner, OVERLAPS).tolist() == [3, 1, b.BETWEEN, b.NONE, 2]


def test_ties_for_a_boxs_best_all_match_what_they_overlap_most():
    owner = b.matched(OVERLAPS, 0.7, 0.3)
    assert b.with_ties(owner, OVERLAPS).tolist() == [0, 0, b.BETWEEN, b.NONE, 0]


def test_without_boxes_all_anchors_are_background_and_without_anchors_none_match():
    none = torch.zeros(3, 0)
    owner = b.matched(none, 0.7, 0.3)
    assert owner.tolist() == b.with_best(owner, none).tolist() == b.with_ties(owner, none).tolist() == [b.NONE] * 3
    assert b.nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []
