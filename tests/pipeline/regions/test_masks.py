"""Run-length encoded masks are COCO's, to the last character."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from recast.pipeline.regions import masks
from recast.pipeline.regions.masks import MaskError

sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def blobs(draw, size=None):
    """Masks with long runs and short ones: noise, rectangles over it, or either turned inside out."""
    height, width = draw(sizes) if size is None else size
    pixels = draw(arrays.arrays(bool, (height, width), fill=st.nothing() if draw(st.booleans()) else st.just(False)))
    for _ in range(draw(st.integers(0, 3))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        pixels[top : draw(st.integers(top, height)), left : draw(st.integers(left, width))] ^= True
    return pixels


def theirs(pixels):
    return coco.encode(np.asfortranarray(pixels.astype(np.uint8)))


@given(blobs())
@settings(max_examples=300, deadline=None)
def test_a_mask_is_written_as_pycocotools_writes_it_and_read_back(pixels):
    """String, area and box are pycocotools'; a window of what is read is the window of the mask."""
    height, width = pixels.shape
    rle = masks.encoded(pixels)
    assert rle == theirs(pixels)["counts"].decode()
    assert np.array_equal(masks.decoded(rle, height, (0, 0, width, height)), pixels)
    assert masks.area(rle) == coco.area(theirs(pixels)) == pixels.sum()
    left, top, across, down = coco.toBbox(theirs(pixels))
    box = masks.bounding_box(rle, height)
    assert (box or (0, 0, 0, 0)) == (left, top, left + across, top + down)
    window = (width // 3, height // 4, width - width // 5, height - height // 3)
    assert np.array_equal(masks.decoded(rle, height, window), pixels[window[1] : window[3], window[0] : window[2]])
    assert masks.checked(rle, height, width) == rle


@given(blobs(), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_a_window_is_written_as_the_whole_mask_would_be(pixels, left, top, right, bottom):
    whole = np.pad(pixels, ((top, bottom), (left, right)))
    assert masks.placed(pixels, left, top, *whole.shape) == theirs(whole)["counts"].decode()


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_the_union_of_masks_is_pycocotools(data):
    size = data.draw(sizes)
    several = [data.draw(blobs(size)) for _ in range(data.draw(st.integers(1, 4)))]
    joined = masks.union(*map(masks.encoded, several))
    assert joined == coco.merge([theirs(pixels) for pixels in several])["counts"].decode()
    one, other = several[0], several[-1]
    both, either = (one & other).sum(), (one | other).sum()
    assert masks.overlap(masks.encoded(one), masks.encoded(other)) == pytest.approx(both / max(either, 1))


def test_runs_of_every_length_are_written_as_pycocotools_writes_them():
    """Runs of one to seven characters, and differences of both signs, with an image far too large to unpack."""
    runs = np.array([0, 1, 15, 16, 31, 32, 1, 511, 512, 3, 16383, 16384, 5, 524288, 7, 2**24, 2**26, 9, 2**30, 1, 11])
    height, width = int(runs.sum()), 1
    (expected,) = coco.frPyObjects([{"counts": runs.tolist(), "size": [height, width]}], height, width)
    assert masks.compressed(runs) == expected["counts"].decode()
    assert np.array_equal(masks.runs_of(expected["counts"].decode()), runs)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_mask_or_a_sentence(text):
    """What is read is written as a string that reads the same; what is not ends in MaskError alone."""
    try:
        runs = masks.runs_of(text)
    except MaskError as fault:
        assert str(fault).startswith("its mask ")
        return
    assert runs.min() >= 0
    assert np.array_equal(masks.runs_of(masks.compressed(runs)), runs)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "an empty text"), ("é", "characters"), ("zz", "characters"), ("5Q", "middle of a number"),
        ("o" * 50 + "0", "longer than any image"), ("O", "negative"), ("PPPPPP1" * 3, "more pixels"),
    ],
)  # fmt: skip
def test_what_is_no_mask_says_why(text, words):
    with pytest.raises(MaskError, match=words):
        masks.runs_of(text)


def test_a_mask_of_another_size_is_refused():
    rle = masks.encoded(np.ones((4, 5), bool))
    with pytest.raises(MaskError, match="its mask has 20 pixels, and an image of 6 x 4 px has 24"):
        masks.checked(rle, 4, 6)
    with pytest.raises(MaskError, match="20 and 24 pixels"):
        masks.union(rle, masks.encoded(np.ones((4, 6), bool)))


@given(blobs(), st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_a_dilated_mask_holds_every_pixel_of_the_ellipse_around_each(pixels, across, down):
    """The same as by trying every offset of the ellipse, one by one."""
    height, width = pixels.shape
    expected = np.zeros((height + 2 * down, width + 2 * across), bool)
    for y in range(-down, down + 1):
        for x in range(-across, across + 1):
            if (x / max(across, 1)) ** 2 + (y / max(down, 1)) ** 2 <= 1 + 1e-9:
                expected[down + y : down + y + height, across + x : across + x + width] |= pixels
    assert np.array_equal(masks.dilated(pixels, across, down), expected[down : down + height, across : across + width])
