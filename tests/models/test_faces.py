"""What of a face reaches a generator, where a new one shows, and what a code does to it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.models.face_codes import latent_of, signs_of
from recast.models.faces import EYES, Window, enlarged, fading, pose, resized, seen
from recast.models.networks.face_generator import FaceGenerator, on_sphere
from recast.models.networks.face_transformer import FaceTransformer, cosines, hadamard, rotated
from recast.models.recipes.face_examples import face_example
from recast.models.recipes.passcode import LEAST

boxes = st.tuples(st.floats(-30, 90), st.floats(-30, 90), st.floats(2, 60), st.floats(2, 60)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@given(box=boxes, size=st.sampled_from([8, 16, 64]), margin=st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_nothing_of_a_face_is_in_what_a_generator_sees(box, size, margin):
    """Whatever is in the mask, and at whatever size, the surroundings are the same to the last bit."""
    image = noise(0, 70, 80, 3)
    window = Window.around(box, 1.7)
    mask = window.inside(box, margin) <= 1
    one = window.cut(image)
    other = np.where(mask[..., None], noise(1, *one.shape), one)
    (surroundings, small), (again, same) = seen(one, mask, size), seen(other, mask, size)
    assert np.array_equal(surroundings, again)
    assert np.array_equal(small, same)
    if mask.any():
        assert (small == 255).sum() >= mask.mean() * size * size * 0.9


@given(box=boxes)
@settings(max_examples=40, deadline=None)
def test_windows_reach_beyond_borders(box):
    image = noise(0, 50, 60, 3)
    window = Window.around(box, 1.6)
    square = window.cut(image)
    assert square.shape == (window.side, window.side, 3)
    assert abs(window.left + window.side / 2 - (box[0] + box[2]) / 2) <= 1
    y, x = np.clip(window.top, 0, 49), np.clip(window.left, 0, 59)
    assert np.array_equal(square[0, 0], image[y, x])


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.3, 1.0])
def test_a_new_face_hides_all_of_the_box_and_fades_outside_of_it(margin):
    window = Window(0, 0, 100)
    box = (20.0, 30.0, 70.0, 80.0)
    share = fading(window.inside(box, margin), margin)
    assert share[window.inside(box, 0) <= 1].min() == 1
    assert share[window.inside(box, margin) > 1].max() == 0
    assert ((share >= 0) & (share <= 1)).all()


def test_a_pose_tells_place_and_turn_but_not_whose_face_it_is():
    """Eyes further apart, or a longer nose, give the same points; a turned face gives turned ones."""
    window, box = Window(0, 0, 100), (20.0, 20.0, 80.0, 80.0)
    face = np.array([[40, 45], [60, 45], [50, 55], [43, 65], [57, 65]], float)
    wider = face + np.array([[-5, 0], [5, 0], [0, 0], [3, 0], [-3, 0]])
    assert np.allclose(pose(box, face.ravel(), window), pose(box, wider.ravel(), window), atol=1e-6)
    eyes = pose(box, face.ravel(), window).reshape(5, 2)[:2] * 100
    assert eyes[1, 0] - eyes[0, 0] == pytest.approx(2 * EYES[0] * 60, abs=1e-3)
    angle = math.radians(20)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    turned = pose(box, ((face - 50) @ turn + 50).ravel(), window).reshape(5, 2)
    across = turned[1] - turned[0]
    assert math.atan2(across[1], across[0]) == pytest.approx(angle, abs=1e-3)
    looking = face.copy()
    looking[2, 0] += 6
    assert pose(box, looking.ravel(), window).reshape(5, 2)[2, 0] > pose(box, face.ravel(), window).reshape(5, 2)[2, 0]
    assert np.isfinite(pose(box, None, window)).all()
    assert np.allclose(pose(box, [math.nan] * 10, window), pose(box, None, window))


def test_a_generator_ignores_what_is_in_the_mask():
    torch.manual_seed(0)
    G = FaceGenerator(size_px=16, width=4, latent=8).eval()
    mask = (torch.rand(2, 1, 16, 16) > 0.5).float()
    image, points, z = torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 10), on_sphere(torch.randn(2, 8))
    other = torch.where(mask > 0, torch.rand_like(image), image)
    with torch.no_grad():
        made = G(image, mask, points, z)
        assert torch.equal(made, G(other, mask, points, z))
        assert not torch.equal(made, G(image, mask, points, -z))
        assert torch.equal(made * (1 - mask), image * (1 - mask))


def test_a_code_turns_and_its_inverse_turns_back():
    """An orthogonal map for each code; another code, if only by one bit, leads elsewhere."""
    z = on_sphere(torch.randn(5, 64, generator=torch.Generator().manual_seed(0)))
    code = bytes(range(16))
    signs = signs_of(code, 64).expand(5, -1, -1)
    turned = rotated(z, signs)
    torch.testing.assert_close(rotated(turned, signs, back=True), z)
    torch.testing.assert_close(turned.norm(dim=1), z.norm(dim=1))
    torch.testing.assert_close(hadamard(hadamard(z)), z)
    one_bit = signs_of(bytes([1, *code[1:]]), 64).expand(5, -1, -1)
    astray = torch.nn.functional.cosine_similarity(rotated(turned, one_bit, back=True), z)
    assert astray.abs().max() < 0.6
    assert torch.equal(signs_of(code, 64), signs_of(code, 64))


def test_latent_codes_are_spread_over_the_sphere():
    points = torch.stack([latent_of(n.to_bytes(16, "big"), 32) for n in range(400)])
    torch.testing.assert_close(points.norm(dim=1), torch.full((400,), math.sqrt(32)))
    assert points.mean(0).abs().max() < 0.2
    assert torch.equal(latent_of(b"x" * 16, 32), latent_of(b"x" * 16, 32))


def test_an_example_is_a_face_its_mask_and_what_is_around():
    image, rng = noise(0, 60, 60, 3), np.random.default_rng(0)
    face = np.array([15, 15, 45, 45, *np.linspace(20, 40, 10)], np.float32)
    made = face_example(image, face, rng, LEAST, augment=False)
    assert {name: tuple(t.shape) for name, t in made.items()} == {
        "face": (3, 16, 16), "surroundings": (3, 16, 16), "mask": (1, 16, 16), "fade": (1, 16, 16),
        "landmarks": (10,),
    }  # fmt: skip
    outside = made["mask"][0] == 0
    assert outside.any()
    assert (made["mask"][0] == 255).float().mean() > 0.4
    augment = [face_example(image, face, np.random.default_rng(n), LEAST, augment=True)["face"] for n in range(2)]
    assert not torch.equal(*augment)
    window = Window.around(face[:4], LEAST.context)
    assert np.array_equal(made["face"].numpy().transpose(1, 2, 0), resized(window.cut(image), 16))


@pytest.mark.parametrize("side", [64, 70, 88, 113, 128, 301])
def test_what_was_enlarged_comes_back_when_it_is_made_smaller(side):
    """Smooth, with a grain as fine as pixels, in 8 bits; without this, what is hidden in a face would be lost."""
    y, x = np.mgrid[:64, :64] / 64
    smooth = np.stack([x, y, x * y], -1) * 120 + 60
    square = (smooth + np.random.default_rng(0).normal(0, 6, (64, 64, 3))).round().clip(0, 255).astype(np.uint8)
    back = resized(enlarged(square, side).round().clip(0, 255).astype(np.uint8), 64)
    assert np.abs(back.astype(int) - square).mean() < 0.7


def test_components_are_orthonormal_and_the_lowest_come_first():
    basis, typical = cosines(8, 0, 32)
    flat = basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(32), atol=1e-5, rtol=0)
    assert (typical.diff() <= 1e-6).all()
    assert basis[0].std() < 1e-6
    rest, _ = cosines(8, 32, 160)
    assert (flat @ rest.flatten(1).T).abs().max() < 1e-5


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    return FaceTransformer(size_px=64, width=4, channels=32, features=16).eval()


def faces_and_masks(count=3):
    y, x = (np.mgrid[:64, :64] + 0.5) / 32 - 1
    mask = torch.from_numpy(((x / 0.75) ** 2 + (y / 0.95) ** 2 <= 1).astype(np.float32)).expand(count, 1, 64, 64)
    random = torch.Generator().manual_seed(1)
    few = torch.rand(count, 3, 8, 8, generator=random) * 1.6 - 0.8
    return torch.nn.functional.interpolate(few, size=(64, 64), mode="bicubic").clamp(-1, 1), mask


@torch.no_grad()
def test_a_face_comes_back_from_the_new_faces_pixels(transformer):
    """Before anything is learned: 8 bits keep what is hidden, the right code brings the face back, a wrong one doesn't,
    and what is outside of the mask is never touched."""
    faces, mask = faces_and_masks()
    right, wrong = (signs_of(bytes([n] * 16), transformer.latent).expand(3, -1, -1) for n in (1, 2))
    new = transformer(faces, mask, right)
    assert torch.equal(new * (1 - mask), faces * (1 - mask))
    kept = ((new + 1) * 127.5).round() / 127.5 - 1
    numbers = rotated(transformer.find(kept), right, back=True)
    assert (numbers - transformer.read(faces, mask)).square().mean() < 0.01
    back, _ = transformer.restore(kept, mask, numbers)
    astray, _ = transformer.restore(kept, mask, rotated(transformer.find(kept), wrong, back=True))

    def psnr(made):
        return -10 * ((made - faces) / 2 * mask).square().sum().div(3 * mask.sum()).log10()

    assert psnr(back) > 25
    assert psnr(astray) < 15
    assert psnr(new) < 15


@torch.no_grad()
def test_a_new_face_does_not_show_the_old_one(transformer):
    """What the generator paints follows from code and surroundings; another old face changes but what is turned."""
    faces, mask = faces_and_masks()
    latent = on_sphere(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
    other = torch.where(mask > 0, faces.flip(0), faces)
    assert torch.equal(transformer.imagine(faces, mask, latent), transformer.imagine(other, mask, latent))


def test_numbers_that_find_no_room_are_refused():
    with pytest.raises(ValueError, match="there is no room to hide"):
        FaceTransformer(size_px=64, width=4, channels=64, features=16)
    with pytest.raises(ValueError, match="powers of 2"):
        FaceTransformer(size_px=64, width=4, channels=24, features=16)
