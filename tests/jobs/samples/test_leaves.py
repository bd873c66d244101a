"""Drawn dead leaves: the same for the same seed, and full of edges of all sizes."""

import numpy as np
from PIL import Image

from recast.jobs.samples.leaves import draw_leaves, write_leaves

PALETTE = np.array([[20, 30, 40], [200, 180, 160], [90, 140, 60]], np.uint8)


def drawn(seed, size_px=128):
    return np.asarray(draw_leaves(np.random.default_rng(seed), PALETTE, size_px))


def test_a_seed_decides_the_drawing():
    """The same seed draws the same pixels, another one others."""
    assert (drawn(1) == drawn(1)).all()
    assert (drawn(1) != drawn(2)).any()


def test_edges_at_every_scale():
    """As in photographs, neighbours differ at every size the drawing is looked at: no scale is smooth."""
    image = Image.fromarray(drawn(3, 512)).convert("L")
    for side in (512, 256, 128, 64):
        pixels = np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32)
        assert np.abs(np.diff(pixels, axis=1)).mean() > 4


def test_files_are_numbered(tmp_path):
    """A folder of leaves beside photographs adds files and touches no other."""
    (tmp_path / "moon.png").write_bytes(b"kept")
    assert write_leaves(str(tmp_path), count=2, size_px=64) == ["leaves-00000.png", "leaves-00001.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["leaves-00000.png", "leaves-00001.png", "moon.png"]
    assert Image.open(tmp_path / "leaves-00001.png").size == (64, 64)
