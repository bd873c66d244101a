"""What tests stand on: a real S3 server, real Ray clusters of one and two nodes, and one worker without Ray."""

import contextlib
import os
import pickle
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.pop("RAY_ADDRESS", None)  # tests bring their own clusters

import ray
from ray.cluster_utils import Cluster
from xdist.scheduler import LoadFileScheduling

from recast.jobs.object_store import ObjectStore, local_object_store
from recast.pipeline import cluster
from recast.pipeline.bulk import here, workforce
from recast.pipeline.bulk.here import Pace
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.training import road

OBJECT_STORE_BYTES = 200 << 20
CLUSTERS = ("training/test_road.py", "bulk/test_chaos.py", "training/test_groups.py", "jobs/test_submission.py")
"""Files whose tests start most clusters. Side by side they take two to four times as long, since each start is work
for all cores: one of the two processes of `make test` gets them all."""
SLOWEST = (
    *CLUSTERS, "tests/test_docs_run.py", "jobs/test_deidentify_learned.py", "jobs/test_deidentify.py",
    "jobs/test_signals.py", "jobs/test_least_privilege.py", "bulk/test_storage_faults.py", "bulk/test_road.py",
)  # fmt: skip
"""Files that take longest, begun first, so that both processes end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(SLOWEST) if str(item.path).endswith(name)), len(SLOWEST))

    items.sort(key=place)


class ClustersTogether(LoadFileScheduling):
    """Each file to one process, and CLUSTERS as if they were one file."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "clusters" if file.endswith(CLUSTERS) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ClustersTogether:
    return ClustersTogether(config, log)


@pytest.fixture(scope="session")
def object_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """A real S3 server for the whole session; its keys are in the environment, for workers started later too.

    RECAST_TEST_S3 names the endpoint of another one (Ceph RGW, say) to run on, with its keys in the environment.
    """
    if endpoint := os.environ.get("RECAST_TEST_S3"):
        keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
        other = ObjectStore(endpoint, *keys, tmp_path_factory.mktemp("s3"))
        with other.exported():
            yield other
        return
    with local_object_store(tmp_path_factory.mktemp("s3") / "buckets") as store, store.exported():
        yield store


@pytest.fixture
def bucket(object_store: ObjectStore) -> str:
    """URL of a bucket of the test's own."""
    return object_store.make_bucket(f"test-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def ray_local(object_store: ObjectStore) -> Iterator[None]:
    """Ray on this machine for the tests of a module."""
    with cluster.connected(OBJECT_STORE_BYTES):
        yield


@contextlib.contextmanager
def bulk_runs_here() -> Iterator[None]:
    """Bulk runs without Ray, for tests that are about all else: starting a worker takes seconds, a thousand times.

    What would travel to a worker does so here, too: it is pickled.
    """

    def as_it_arrives(*sent: Any, **told: Any) -> UnitWorker:
        return UnitWorker(*pickle.loads(ray.cloudpickle.dumps(sent)), **told)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workforce, "where", lambda job, left_behind: (False, "in this process, for a test"))
        patch.setattr(here, "UnitWorker", as_it_arrives)
        patch.setattr(Pace, "sooner_elsewhere", lambda pace, left: False)
        yield


@pytest.fixture
def worker_here() -> Iterator[None]:
    """`bulk_runs_here` for a whole test."""
    with bulk_runs_here():
        yield


@contextlib.contextmanager
def trainings_here() -> Iterator[None]:
    """Trainings without Ray, whatever this process has joined, for tests that are about all else: what Ray Train starts
    for each training takes half a minute of a core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(road, "where", lambda plan: (False, "in this process, for a test"))
        yield


@pytest.fixture
def trainer_here() -> Iterator[None]:
    """`trainings_here` for a whole test."""
    with trainings_here():
        yield


class TwoNodes:
    """A Ray cluster of two nodes on this machine, each with addresses of its own, and a seat: scarce, as GPUs are."""

    def __init__(self) -> None:
        self._facts = {"num_cpus": 2, "object_store_memory": OBJECT_STORE_BYTES, "resources": {"seat": 1}}
        soon = {"health_check_period_ms": 500}  # a killed node is told of after 5 of them; by default after 15 s
        self._net = f"127.0.{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw')}"
        head = {"node_ip_address": f"{self._net}.2", "include_dashboard": False, "_system_config": soon, **self._facts}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self._added = 0
        self.add_worker_node()
        self.address = self._cluster.address

    def add_worker_node(self) -> None:
        self._added += 1  # an address that a dead node had may be taken for the dead node
        self._worker = self._cluster.add_node(node_ip_address=f"{self._net}.{2 + self._added}", **self._facts)
        self._cluster.wait_for_nodes()

    def owns(self, process: psutil.Process) -> bool:
        """Whether a process is one of this cluster's workers, and not of another cluster on this machine."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self._cluster.list_all_nodes()}
        return not raylets.isdisjoint(p.pid for p in process.parents())

    def kill_worker_node(self) -> str:
        """SIGKILL everything on the second node. Returns its id."""
        node = self._worker.node_id
        self._cluster.remove_node(self._worker, allow_graceful=False)
        return node

    def shutdown(self) -> None:
        self._cluster.shutdown()


@pytest.fixture
def ray_cluster_two_nodes(object_store: ObjectStore) -> Iterator[TwoNodes]:
    """A fresh two-node cluster that this process is connected to."""
    ray.shutdown()
    nodes = TwoNodes()
    try:
        ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photographs that scikit-image's wheel holds."""
    import skimage

    return Path(skimage.__file__).parent / "data"
