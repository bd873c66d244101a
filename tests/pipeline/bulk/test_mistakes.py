"""What an operator raises: a row where the image or the network is to blame, an untried input where we are."""

import dataclasses

import pytest
import torch

from recast.jobs import errors
from recast.pipeline.bulk import road, writer
from recast.pipeline.bulk.operation import Operation, Operator, Result
from recast.pipeline.input_errors import raised_by_network
from recast.pipeline.progress import Silent
from recast.pipeline.storage import StorageError
from tests.pipeline.bulk.test_road import image, job, view

pytestmark = pytest.mark.usefixtures("worker_here")
N = 30


@dataclasses.dataclass(frozen=True)
class Raising(Operator):
    """Gives pictures back as they are, and raises at some."""

    faults: dict[str, BaseException]

    def operator(self, settings):
        return self

    def __call__(self, pictures, items):
        for item in items:
            if item.key in self.faults:
                raise self.faults[item.key]
        return [Result(picture=picture) for picture in pictures]


class InNetwork(Raising):
    def __call__(self, pictures, items):
        with raised_by_network():
            return super().__call__(pictures, items)


@pytest.fixture
def source(tmp_path):
    for n in range(N):
        image(tmp_path / "in" / f"{n:02}.png", n)
    return tmp_path / "in"


def run(source, tmp_path, operator):
    asked = dataclasses.replace(job(source, tmp_path / "out", ""), batch_size=4)
    return road.run(asked, Silent(), Operation("raising", "sha256:r", "", lambda: operator))


def test_a_mistake_of_our_own_leaves_its_input_untried_and_is_told_with_the_log(tmp_path, source, monkeypatch):
    """The run goes on with the rest; once the mistake is mended, the same command settles what it left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    mistakes = {"03.png": AttributeError("no such thing"), "07.png": KeyError("score")}
    with pytest.raises(road.MistakeError) as caught:
        run(source, tmp_path, Raising(mistakes))
    sentence, status = errors.ending(caught.value, ["upscale"])
    assert status == 1
    assert "2 inputs" in sentence
    assert "03.png (AttributeError: no such thing)" in sentence
    (log,) = (tmp_path / "state/recast").iterdir()
    assert str(log) in sentence
    assert "in __call__" in log.read_text()
    settled = view(tmp_path / "out")
    assert len(settled) == N - 2
    assert {row[1] for row in settled.values()} == {"ok"}
    assert run(source, tmp_path, Raising({})).ok == 2


def test_what_a_network_raises_for_its_input_and_too_little_memory_are_rows(tmp_path, source):
    faults = {
        "01.png": RuntimeError("sizes do not match"),
        "02.png": TypeError("an export guards its input"),
        "03.png": torch.OutOfMemoryError("out of memory"),
    }
    summary = run(source, tmp_path, InNetwork(faults))
    assert (summary.ok, summary.failed, summary.failures) == (N - 3, 3, {"generator": 3})
    again = run(source, tmp_path, Raising({"04.png": MemoryError()}))
    assert again.ok == again.failed == 0, "all is settled"


def test_too_little_memory_outside_of_the_network_is_a_row_too(tmp_path, source):
    summary = run(source, tmp_path, Raising({"04.png": MemoryError()}))
    assert (summary.ok, summary.failures) == (N - 1, {"generator": 1})


@pytest.mark.parametrize("fault", [ConnectionResetError(104, "reset by peer"), StorageError("seals can't be read")])
def test_a_fault_of_storage_inside_an_operator_leaves_its_input_untried(tmp_path, source, fault):
    with pytest.raises(road.BulkError, match="1 inputs could not be read"):
        run(source, tmp_path, Raising({"05.png": fault}))
    assert "05.png" not in view(tmp_path / "out")
    assert run(source, tmp_path, Raising({})).ok == 1


def test_mistake_after_mistake_ends_the_run_at_once(tmp_path, source):
    every = {f"{n:02}.png": AssertionError("no bytes") for n in range(N)}
    with pytest.raises(road.MistakeError, match=f"{writer.MOST_MISTAKES} inputs in a row"):
        run(source, tmp_path, Raising(every))
    assert view(tmp_path / "out") == {}
