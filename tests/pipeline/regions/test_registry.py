"""Providers of regions are found by name, or by what a bundle holds."""

from importlib import import_module

import pytest

from recast.models.description import BundleError
from recast.models.networks import NETWORKS as KNOWN
from recast.pipeline import bundles
from recast.pipeline.deidentify.settings import Deidentification
from recast.pipeline.regions import registry
from recast.pipeline.regions.region import Region
from tests.pipeline.bulk.bundle_operation import begun


@pytest.fixture(scope="module")
def retinaface(tmp_path_factory):
    return begun("retinaface", tmp_path_factory.mktemp("retinaface"))


def test_detectors_come_in_the_order_of_their_names_each_once(retinaface):
    made = registry.built_detectors(["cascades", retinaface, "none", "centerface", "cascades"], scales=[1.0])
    assert [detector.name.split()[0] for detector in made] == ["cascades", "retinaface", "centerface"]
    packed = {retinaface: bundles.fetch(retinaface)}
    assert registry.built_detectors([retinaface], packed)[0].name == made[1].name


@pytest.mark.parametrize("network", registry.NETWORKS)
def test_every_network_that_a_provider_is_named_for_is_one(network):
    assert network in KNOWN
    assert callable(import_module(registry.NETWORKS[network]).build)


def test_a_bundle_that_no_provider_knows_is_refused_with_what_is_known(tmp_path):
    place = begun("deidentify", tmp_path)
    with pytest.raises(BundleError, match=r"holds the network \w+\. Choose centerface, cascades, or a bundle of"):
        registry.built_detectors([place])


def test_a_new_provider_is_one_entry(monkeypatch):
    """By name it is built, and no bundle is looked for under it."""

    class Everywhere:
        name = "everywhere"

        def __call__(self, images):
            return [[Region(kind="all", box=(0, 0, 9, 9), score=1, detector=self.name)] for _ in images]

    monkeypatch.setitem(registry.PROVIDERS, "everywhere", lambda settings: Everywhere())
    (made,) = registry.built_detectors(["everywhere"])
    assert made([None])[0][0].kind == "all"
    assert Deidentification(detectors=("centerface",)).bundles() == ()
