"""CenterNet has the public files' names, asks for what the paper says, and reads its maps back; all stated anew."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recast.models import foreign, recipes
from recast.models.losses.centernet import Targets, joint_losses, thing_losses
from recast.models.networks.centernet import LEAST_JOINT, CenterNet, Maps, decoded
from recast.models.networks.hourglass import StackedHourglass
from recast.models.perception.findings import Looking
from recast.models.perception.heatmaps import iou_radius
from recast.models.recipes.ranges import SettingError
from recast.models.recipes.recipe import RawExample, RecipeAssets
from recast.models.recipes.truth import Things
from recast.models.recipes.windows import Frame, cut
from tests.models.test_recipes import THINGS, built, photograph, region_of, trained

SIDE = 16
COLUMNS = 14


def things(*rows):
    """[1, 4, COLUMNS], NaN where there is none."""
    made = torch.full((1, 4, COLUMNS), math.nan)
    for place, row in zip(made[0], rows, strict=False):
        place[: len(row)] = torch.tensor(row, dtype=torch.float32)
        place[len(row) :] = 0
    return made


def targets_of(rows, points=3):
    return Targets.of(rows, categories=2, points=points, side=SIDE, overlap=0.3, formula="cornernet")


ONE = [10, 12, 31, 50, 1, 20, 20, 2, 30.5, 41, 1, 25, 25, 0]
OTHER = [40, 8, 62, 30, 0, 45, 9, 2, 0, 0, 0, 70, 20, 2]


@pytest.mark.parametrize(("categories", "points", "parameters"), [(80, 0, 191_284_008), (1, 17, 194_811_124)])
def test_the_hourglass_is_the_public_one(categories, points, parameters):
    """As many parameters as `ctdet_coco_hg` and `multi_pose_hg` have, and their names below `trunk`."""
    with torch.device("meta"):
        network = CenterNet(categories=categories, points=points, trunk="hourglass")
    assert sum(p.numel() for p in network.parameters()) == parameters
    names = network.state_dict()
    for name in ("hm.0.0.conv.weight", "wh.1.1.bias", "trunk.kps.0.low2.low2.low2.low2.low2.3.conv2.weight",
                 "trunk.pre.0.bn.weight", "trunk.inters_.0.1.weight", "trunk.kps.1.low1.0.skip.0.weight"):  # fmt: skip
        assert name in names
    assert ("hm_hp.1.1.weight" in names) == bool(points)


def test_maps_are_a_quarter_of_the_image():
    torch.manual_seed(0)
    network = CenterNet(categories=2, points=3, trunk="resnet10", width=4, head=4)
    (maps,) = network(torch.zeros(1, 3, 64, 128))
    assert [each.shape[1:] for each in maps] == [(channels, 16, 32) for channels in (2, 2, 2, 6, 3, 2)]
    assert isinstance(network, Looking)
    hourglass = StackedHourglass(widths=(4, 4, 8), blocks=(1, 1, 2))
    assert [each.shape for each in hourglass(torch.zeros(1, 3, 32, 64))] == [(1, 4, 8, 16)] * 2
    assert hourglass.multiple == 16


def test_targets_are_the_papers():
    """By a plain loop: one Gaussian a thing at the pixel of its centre, the larger value where two meet."""
    rows = things(ONE, OTHER)
    found = targets_of(rows)
    heat = np.zeros((2, SIDE, SIDE))
    for n, (left, top, right, bottom, category) in enumerate(rows[0, :2, :5].tolist()):
        x, y = (left + right) / 8, (top + bottom) / 8
        width, height = (right - left) / 4, (bottom - top) / 4
        sizes = torch.tensor([[math.ceil(height), math.ceil(width)]]).float()
        radius = int(iou_radius(sizes, 0.3).item())
        sigma = (2 * radius + 1) / 6
        for row in range(SIDE):
            for column in range(SIDE):
                across, down = column - int(x), row - int(y)
                if max(abs(across), abs(down)) <= radius:
                    value = math.exp(-(across**2 + down**2) / (2 * sigma**2))
                    heat[int(category), row, column] = max(heat[int(category), row, column], value)
        assert found.place[0, n] == int(y) * SIDE + int(x)
        assert found.size[0, n].tolist() == pytest.approx([width, height])
        assert found.offset[0, n].tolist() == pytest.approx([x - int(x), y - int(y)])
    np.testing.assert_allclose(found.heat[0], heat, atol=1e-6)
    assert found.there.tolist() == [[True, True, False, False]]
    assert found.seen[0, :2].tolist() == [[True, True, False], [True, False, False]]  # v 0, and beyond the border
    assert found.joints[0, 0, 0].tolist() == pytest.approx([20 / 4 - int(41 / 8), 20 / 4 - int(62 / 8)])
    assert found.counts.tolist() == [2, 3]
    assert (found.joint_heat == 1).sum((0, 2, 3)).tolist() == [2, 1, 0]


def maps_of(targets):
    """Maps that say what targets want."""

    def spread(values, places, channels):
        made = torch.zeros(1, channels, SIDE * SIDE)
        made[0, :, places] = values.T
        return made.view(1, channels, SIDE, SIDE)

    there, seen = targets.there[0], targets.seen[0]
    place, joint_place = targets.place[0, there], targets.joint_place[0][seen]
    return Maps(
        heat=torch.logit(targets.heat, 1e-4),
        size=spread(targets.size[0, there], place, 2),
        offset=spread(targets.offset[0, there], place, 2),
        joints=spread(targets.joints[0, there].flatten(1), place, 6),
        joint_heat=torch.logit(targets.joint_heat, 1e-4),
        joint_offset=spread(targets.joint_offset[0][seen], joint_place, 2),
    )


def test_what_targets_say_is_found_again():
    """Boxes, categories and joints, to a hundredth of a pixel; nothing below the floor."""
    (found,) = decoded(maps_of(targets_of(things(ONE, OTHER))), 0.5)
    order = found.categories.argsort(descending=True)
    torch.testing.assert_close(found.boxes[order], torch.tensor([ONE[:4], OTHER[:4]]).float(), atol=0.01, rtol=0)
    assert found.categories[order].tolist() == [1, 0]
    torch.testing.assert_close(
        found.points[order][0, :2, :2], torch.tensor([[20.0, 20.0], [30.5, 41.0]]), atol=0.01, rtol=0
    )
    assert (found.scores > 0.99).all()
    assert len(decoded(maps_of(targets_of(things())), 0.5)[0].scores) == 0


def test_a_joint_moves_to_the_nearest_likely_peak_in_its_box_and_else_stays():
    """By a plain loop over all peaks."""
    torch.manual_seed(3)
    targets = targets_of(things(ONE))
    maps = maps_of(targets)
    noise = torch.rand(1, 3, SIDE, SIDE) * 0.3
    maps = maps._replace(joint_heat=torch.logit(noise), joint_offset=torch.rand(1, 2, SIDE, SIDE))
    (found,) = decoded(maps, 0.5)
    left, top, right, bottom = (side / 4 for side in ONE[:4])
    reach = 0.3 * max(right - left, bottom - top)
    for joint in range(3):
        plane = noise[0, joint].numpy()
        x, y = (targets.joints[0, 0, joint] + torch.tensor([5.0, 7.0])).tolist()
        best = None
        for row in range(SIDE):
            for column in range(SIDE):
                around = plane[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
                if plane[row, column] < around.max() or plane[row, column] <= LEAST_JOINT:
                    continue
                px, py = (
                    column + float(maps.joint_offset[0, 0, row, column]),
                    row + float(maps.joint_offset[0, 1, row, column]),
                )
                away = math.hypot(px - x, py - y)
                if left <= px <= right and top <= py <= bottom and (best is None or away < best[0]):
                    best = (away, px, py)
        wanted = best[1:] if best and best[0] <= reach else (x, y)
        assert found.points[0, joint, :2].tolist() == pytest.approx([4 * v for v in wanted], abs=1e-3)


def test_losses_are_nothing_for_what_targets_say_and_count_what_is_off():
    targets = targets_of(things(ONE, OTHER))
    maps = maps_of(targets)
    heat, size, offset = thing_losses(maps, targets)
    assert heat < 1
    assert (size + offset).item() == pytest.approx(0, abs=1e-5)
    assert sum(joint_losses(maps, targets)[::2]).item() == pytest.approx(0, abs=1e-4)
    off = maps._replace(size=maps.size + 1, joints=maps.joints - 2)
    assert thing_losses(off, targets)[1].item() == pytest.approx(2 * 2, abs=1e-4)
    assert joint_losses(off, targets)[0].item() == pytest.approx(3 * 2 * 2, abs=1e-4)


@pytest.mark.parametrize("keypoints", [False, True])
def test_a_batch_of_negatives_alone_trains_every_parameter(keypoints):
    """Their loss is finite and reaches all parameters."""
    torch.manual_seed(0)
    recipe = built("centernet", keypoints=keypoints)
    raw = RawExample((photograph(),), region_of(recipe)[:0])
    examples = [recipe.example(raw, np.random.default_rng(n)) for n in range(2)]
    batch = {name: torch.stack([each[name] for each in examples]) for name in examples[0]}
    before = [p.clone() for p in recipe.networks["F"].parameters()]
    _, scalars = trained(recipe, batch, 2)
    assert all(math.isfinite(value) for said in scalars for value in said.values())
    assert scalars[0]["F size"] == 0
    heat = [
        n for n, (name, _) in enumerate(recipe.networks["F"].named_parameters()) if name.startswith(("trunk", "hm"))
    ]
    after = list(recipe.networks["F"].parameters())
    assert all(not torch.equal(before[n], after[n]) for n in heat)


def test_a_few_steps_learn():
    torch.manual_seed(0)
    recipe = built("centernet", width=8, head=8)
    raw = RawExample((photograph(),), region_of(recipe))
    batch = {name: value[None].repeat(2, 1, 1, 1) if value.dim() == 3 else value[None].repeat(2, 1, 1)
             for name, value in recipe.example(raw, np.random.default_rng(0), augment=False).items()}  # fmt: skip
    _, scalars = trained(recipe, batch, 12)
    assert scalars[-1]["F heat map"] < 0.85 * scalars[0]["F heat map"]
    assert scalars[-1]["F size"] < scalars[0]["F size"]
    preview = recipe.preview(batch, recipe.networks["F"].eval())
    assert preview.output.shape == preview.target.shape == (2, 3, 64, 64)
    assert not torch.equal(preview.target, preview.input)


def test_cuts_mirrors_and_boxes_go_together():
    """A bright rectangle stays inside its box however it is cut, and left keypoints become right ones in a mirror."""
    recipe = built("centernet", keypoints=True, colour_jitter=0.0)
    image = np.zeros((120, 140, 3), np.uint8)
    image[30:90, 30:80] = 255
    raw = region_of(recipe)
    raw[0, 5:] = [30, 30, 2, 30, 60, 2, 80, 60, 2]
    mirrors = set()
    for seed in range(12):
        example = recipe.example(RawExample((image,), raw), np.random.default_rng(seed))
        row, bright = example["things"][0].numpy(), example["x"][0].numpy() > 127
        if np.isnan(row[0]):
            continue
        ys, xs = np.nonzero(bright)
        assert np.abs(row[:4] - [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]).max() <= 1.5
        nose, left_eye, right_eye = row[5:].reshape(3, 3)
        assert left_eye[0] < right_eye[0]  # after a mirror, too: its left is on the left again, by another name
        mirrors.add(bool(nose[0] > (left_eye[0] + right_eye[0]) / 2))
    assert mirrors == {False, True}


def test_a_frame_beyond_the_image_is_black_there_and_true_inside():
    image = photograph(40, 60)
    whole = cut(image, Frame.whole(40, 60), 60)
    assert np.array_equal(whole[:40], image)
    assert not whole[40:].any()
    wide = cut(image, Frame(-10, -20, 80), 80)
    assert np.array_equal(wide[20:60, 10:70], image)
    assert not wide[:20].any()
    assert not cut(image, Frame(100, 100, 20), 20).any()


def test_settings_that_do_not_fit_are_sentences():
    with pytest.raises(SettingError, match="centernet needs --annotations"):
        recipes.build("centernet", recipes.configured("centernet", "least"))
    with pytest.raises(SettingError, match="size_px is 100; for resnet10 it must be a multiple of 32"):
        built("centernet", size_px=100)
    bare = RecipeAssets(things=Things(categories=THINGS.categories))
    with pytest.raises(SettingError, match="keypoints are to be learned, and the annotations have none"):
        recipes.build("centernet", recipes.configured("centernet", "least", {"keypoints": True}), bare)


def test_a_bundle_says_what_the_network_finds():
    looks = built("centernet", keypoints=True).exported.descriptor.looks
    assert [(each.id, each.name) for each in looks.categories] == [(1, "person"), (3, "car")]
    assert looks.points == ("nose", "left_eye", "right_eye")
    assert (looks.size_px, looks.fit) == (64, "keep")
    assert built("centernet").exported.descriptor.looks.points == ()


def plain_hourglass(state, x):
    """The public network, from its parameters by name alone: convolutions, norms, residual blocks and two stacks."""

    def conv(name, x, stride=1):
        kernel = state[f"{name}.weight"].shape[-1]
        return F.conv2d(x, state[f"{name}.weight"], None, stride, kernel // 2)

    def norm(name, x):
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    def residual(name, x, stride):
        made = F.relu(norm(f"{name}.bn1", conv(f"{name}.conv1", x, stride)))
        made = norm(f"{name}.bn2", conv(f"{name}.conv2", made))
        beside = norm(f"{name}.skip.1", conv(f"{name}.skip.0", x, stride)) if f"{name}.skip.0.weight" in state else x
        return F.relu(made + beside)

    def blocks(name, x, stride=1):
        number = 0
        while f"{name}.{number}.conv1.weight" in state:
            x, number = residual(f"{name}.{number}", x, 1 if number else stride), number + 1
        return x

    def level(name, x):
        low = blocks(f"{name}.low1", x, 2)
        inner = f"{name}.low2"
        low = blocks(inner, low) if f"{inner}.0.conv1.weight" in state else level(inner, low)
        low = blocks(f"{name}.low3", low)
        return blocks(f"{name}.up1", x) + low.repeat_interleave(2, 2).repeat_interleave(2, 3)

    x = residual("pre.1", F.relu(norm("pre.0.bn", conv("pre.0.conv", x, 2))), 2)
    found = []
    for stack in range(2):
        last = F.relu(norm(f"cnvs.{stack}.bn", conv(f"cnvs.{stack}.conv", level(f"kps.{stack}", x))))
        found.append(last)
        if stack == 0:
            joined = norm("inters_.0.1", conv("inters_.0.0", x)) + norm("cnvs_.0.1", conv("cnvs_.0.0", last))
            x = residual("inters.0", F.relu(joined), 1)
    return found


def test_the_hourglass_computes_what_its_names_say():
    torch.manual_seed(1)
    hourglass = StackedHourglass(widths=(4, 6, 8), blocks=(1, 2, 3)).eval()
    for module in hourglass.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    x = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        for ours, theirs in zip(hourglass(x), plain_hourglass(hourglass.state_dict(), x), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("categories", "points"), [(80, 0), (1, 17)])
def test_a_public_file_is_recognised_by_its_names(categories, points):
    """`ctdet_coco_hg` and `multi_pose_hg`: COCO's numbers, names and keypoints; blue first becomes red first."""
    with torch.device("meta"):
        network = CenterNet(categories=categories, points=points, trunk="hourglass")
    state = {f"module.{key.removeprefix('trunk.')}": value for key, value in network.state_dict().items()}
    first = torch.rand(128, 3, 7, 7)
    found = foreign.recognise(state | {"module.pre.0.conv.weight": first}, "ctdet_coco_hg.pth")
    assert found.arguments == {"categories": categories, "points": points, "trunk": "hourglass"}
    assert torch.equal(found.state["trunk.pre.0.conv.weight"], first[:, [2, 1, 0]])
    looks = found.descriptor.looks
    assert (looks.categories[-1].name, looks.categories[-1].id) == (("person", 1) if points else ("toothbrush", 90))
    assert (len(looks.points), looks.size_px, looks.short_px) == (points, 512, None)


def test_a_mirror_swaps_the_names_that_have_a_side():
    """As words of a name, however they are joined; what has no partner stays what it is."""
    points = ("nose", "left_eye", "right_eye", "rear left wheel", "rear right wheel", "left_horn", "brightness")
    assert Things(categories=THINGS.categories, points=points).mirrored_points == [0, 2, 1, 4, 3, 5, 6]
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :20] = 255
    recipe = built("centernet", mirror=False, least_scale=1.0, most_scale=1.0, colour_jitter=0.0)
    raw = RawExample((image,), region_of(recipe)[:0])
    assert {int(recipe.example(raw, np.random.default_rng(n))["x"][0, 0, 0]) for n in range(8)} == {255}
