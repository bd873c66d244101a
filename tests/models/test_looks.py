"""What a network looks for is stated in its bundle, checked, and part of its digest."""

import dataclasses
import json

import pytest

from recast.models.description import Bundle, BundleError, model_card, read_description, to_json
from recast.models.descriptor import Descriptor
from recast.models.looks import Category, Looks

STREET = Looks(
    categories=(Category(id=1, name="person"), Category(id=3, name="traffic light")),
    points=("nose", "left eye"),
    limbs=((0, 1),),
    size_px=512,
)


def bundle(looks: Looks | None) -> Bundle:
    return Bundle(
        name="streets", recipe="import", network="identity", arguments={}, weights_sha256="0" * 64,
        descriptor=Descriptor(task="annotate", looks=looks),
    )  # fmt: skip


def test_what_is_looked_for_comes_back_and_changes_the_digest():
    back = read_description(json.dumps(to_json(bundle(STREET))))
    assert back == bundle(STREET)
    assert back.digest != bundle(None).digest
    assert back.digest != bundle(dataclasses.replace(STREET, size_px=640)).digest
    assert "- finds person, traffic light" in model_card(back)


def test_a_network_that_paints_states_nothing_of_it_and_keeps_its_digest():
    """The digest is that of versions which knew of no looks."""
    assert "looks" not in to_json(bundle(None))["descriptor"]
    assert bundle(None).digest == "sha256:1835bc886fafc767"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"categories": []}, "must state its categories"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "two categories have one id"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}, "two categories have one name"),
        ({"categories": [{"id": 0, "name": "a"}]}, "a category's id is 0"),
        ({"categories": [{"id": True, "name": "a"}]}, "a category's id is True"),
        ({"categories": [{"id": 1, "name": "a\n"}]}, "must be of 1 to 64 printable characters"),
        ({"limbs": [[0, 2]]}, "an end of a limb is 2"),
        ({"limbs": [[0]]}, "an end of a limb is None"),
        ({"size_px": 0}, "size_px is 0"),
        ({"short_px": 513}, "short_px is 513"),
        ({"fit": "crop"}, "fit is 'crop'; it must be one of keep, stretch"),
        ({"score_floor": float("nan")}, "score_floor is nan"),
        ({"points": ["nose"] * 2000}, "it states 2,000 points; there may be 1,024"),
        ({"colour": 1}, "unexpected keyword argument 'colour'"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, why):
    said = to_json(bundle(STREET))
    said["descriptor"]["looks"].update(changes)
    del said["digest"]
    with pytest.raises(BundleError, match=why):
        read_description(json.dumps(said))


@pytest.mark.parametrize(
    ("looks", "image", "given"),
    [
        (STREET, (100, 200), (256, 512)),
        (STREET, (3000, 1000), (512, 171)),
        (STREET, (1, 5000), (1, 512)),
        (dataclasses.replace(STREET, fit="stretch"), (100, 200), (512, 512)),
        (dataclasses.replace(STREET, size_px=1333, short_px=800), (480, 640), (800, 1067)),
        (dataclasses.replace(STREET, size_px=1333, short_px=800), (400, 1000), (533, 1333)),
    ],
)
def test_images_are_given_at_the_size_that_is_stated(looks, image, given):
    assert looks.given_size(*image) == given
