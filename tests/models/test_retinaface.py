"""RetinaFace has the public files' names and numbers; its anchors, codes and losses are what they say, stated anew."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recast.models import foreign
from recast.models.losses.multibox import counted, matched, multibox, owned
from recast.models.networks import NETWORKS
from recast.models.networks.retinaface import RetinaFace, anchors, decoded, encoded
from recast.models.recipes import configured
from recast.models.recipes.recipe import RawExample
from tests.models.originals import Retina
from tests.models.test_recipes import built


@pytest.mark.parametrize("backbone", ["mobilenet0.25", "resnet50"])
def test_a_public_file_is_recognised_and_gives_the_originals_numbers(backbone):
    torch.manual_seed(0)
    original = Retina(backbone).eval()
    for module in original.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    state = {f"module.{key}": value for key, value in original.state_dict().items()}
    found = foreign.recognise(state, "Resnet50_Final.pth")
    assert (found.network, found.arguments, found.descriptor.task) == ("retinaface", {"backbone": backbone}, "detect")
    network = NETWORKS[found.network](**found.arguments)
    network.load_state_dict(found.state)
    rgb = torch.randint(0, 256, (1, 3, 72, 104)).float()
    with torch.no_grad():
        ours, theirs = (
            network.eval()(rgb),
            original(rgb[:, [2, 1, 0]] - torch.tensor([104.0, 117, 123]).view(1, 3, 1, 1)),
        )
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_anchors_lie_where_the_public_priors_do():
    """Pytorch_Retinaface's PriorBox, in pixels: by level, row, column and size."""
    height, width = 72, 104
    expected = []
    for step, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for i, j in itertools.product(range(math.ceil(height / step)), range(math.ceil(width / step))):
            expected += [[(j + 0.5) * step, (i + 0.5) * step, size, size] for size in sizes]
    given = anchors(height, width)
    torch.testing.assert_close(given, torch.tensor(expected))
    boxes, _, _ = RetinaFace()(torch.zeros(1, 3, height, width))
    assert boxes.shape == (1, len(given), 4)


def test_codes_of_boxes_and_landmarks_go_both_ways():
    placed = anchors(64, 64)
    random = torch.Generator().manual_seed(0)
    corner = torch.rand(len(placed), 2, generator=random) * 40
    boxes = torch.cat([corner, corner + 5 + torch.rand(len(placed), 2, generator=random) * 30], 1)
    points = torch.rand(len(placed), 10, generator=random) * 64
    back = decoded(*encoded(boxes, points, placed), placed)
    torch.testing.assert_close(back[0], boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(back[1], points, rtol=1e-4, atol=1e-3)
    offsets, _ = decoded(torch.tensor([[1.0, 0, 0, 5]]), torch.zeros(1, 10), torch.tensor([[50.0, 60, 20, 20]]))
    half = 10 * math.exp(1)  # of a height whose log is off by 5, at variance 0.2
    torch.testing.assert_close(offsets, torch.tensor([[42, 60 - half, 62, 60 + half]]))


def test_every_face_has_an_anchor_and_every_anchor_its_best_face():
    placed = anchors(64, 64)
    faces = torch.tensor([[10.0, 10, 26, 26], [0, 0, 3, 3], [12.0, 12, 60, 62]])
    owner = matched(placed, faces)
    assert set(owner.tolist()) == {-1, 0, 1, 2}
    assert (matched(placed, faces[:0]) == -1).all()


def test_the_losses_are_the_papers():
    """Cross entropy over faces' anchors and seven hard others each; smooth L1 of boxes and of known landmarks."""
    random = torch.Generator().manual_seed(0)
    placed = anchors(64, 64)
    boxes, logits, points = (torch.randn(1, len(placed), n, generator=random) for n in (4, 2, 10))
    faces = torch.full((1, 3, 14), math.nan)
    faces[0, 0] = torch.tensor([10.0, 10, 30, 30, *[20.0] * 10])
    faces[0, 1, :4] = torch.tensor([34.0, 30, 60, 60])
    owners = owned(placed, faces)
    answering, landmarked = counted(owners, faces)
    sums = multibox(boxes, logits, points, placed, faces, owners)
    given = sums[0] / answering, sums[1] / answering, sums[2] / landmarked
    owner = matched(placed, faces[0, :2, :4])
    mine = [n for n, face in enumerate(owner.tolist()) if face >= 0]
    wrong = [F.cross_entropy(logits[0, n], torch.tensor(int(owner[n] >= 0))).item() for n in range(len(placed))]
    others = sorted((wrong[n] for n in range(len(placed)) if n not in mine), reverse=True)[: 7 * len(mine)]
    wanted, places = encoded(faces[0, owner[mine], :4], torch.full((len(mine), 10), 20.0), placed[mine])
    by_box = F.smooth_l1_loss(boxes[0, mine], wanted, reduction="sum") / len(mine)
    known = [i for i, n in enumerate(mine) if owner[n] == 0]
    by_point = F.smooth_l1_loss(points[0, mine][known], places[known], reduction="sum") / len(known)
    expected = (sum(wrong[n] for n in mine) + sum(others)) / len(mine), by_box.item(), by_point.item()
    assert [loss.item() for loss in given] == pytest.approx(expected, rel=1e-4)


def test_a_square_keeps_its_faces_where_they_are():
    """A dot where each landmark is stays under it, whatever is cut, resized or mirrored."""
    recipe = built("retinaface")
    image = np.zeros((100, 120, 3), np.uint8)
    face = np.array([30, 40, 70, 80, 40, 50, 60, 50, 50, 60, 44, 70, 56, 70], np.float32)
    for x, y in face[4:].reshape(5, 2).astype(int):
        image[y - 2 : y + 3, x - 2 : x + 3] = 255
    seen = 0
    for seed in range(12):
        made = recipe.example(RawExample((image,), face[None]), np.random.default_rng(seed))
        size = configured("retinaface", "least").size_px
        assert made["x"].shape == (3, size, size)
        for row in made["faces"][~torch.isnan(made["faces"][:, 0])]:
            points = row[4:].view(5, 2)
            assert (points[1] > points[0]).any()
            for x, y in points.round().long().tolist():
                if 1 <= x < size - 1 and 1 <= y < size - 1:
                    seen += 1
                    assert made["x"][:, y - 1 : y + 2, x - 1 : x + 2].float().amax() > 60
    assert seen > 20
