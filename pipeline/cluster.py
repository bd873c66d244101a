"""The Ray cluster that a job runs on: the one that RAY_ADDRESS names, or one of its own on this machine."""

import contextlib
import os
import sys
from collections.abc import Collection, Iterator
from typing import Any

import ray
from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

OBJECT_STORE_BYTES = 400 << 20
"""Of a cluster of our own. Plans and results are small, and pixels never pass through it."""

START_TRIES = 3


class ClusterError(Exception):
    """A plan that the cluster can't run; the message says what it lacks."""

    exit_status = 1


@contextlib.contextmanager
def connected(object_store_bytes: int = OBJECT_STORE_BYTES) -> Iterator[None]:
    """Connect to Ray for as long as the block runs; a cluster that this started ends with it."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    # Ray's core warns, on stderr, of actors whose arguments lie in the object store. Here the driver owns them.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with _stderr_closed():  # on which the core would announce that very log level
        if os.environ.get("RAY_ADDRESS"):
            ray.init(log_to_driver=False, logging_level="error")
        else:
            _start(object_store_bytes)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _stderr_closed() -> Iterator[None]:
    """Send what this process's native code writes to standard error nowhere; exceptions come through as ever."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _start(object_store_bytes: int) -> None:
    """Start Ray on this machine; again where a busy machine kept its parts from finding each other in time."""
    for attempt in range(START_TRIES):
        try:
            # `local`, since a bare init would join whatever cluster last ran on this machine, dead ones included.
            ray.init(
                address="local",
                object_store_memory=object_store_bytes,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
            )
            return
        except Exception as fault:  # Ray raises a bare Exception for this
            ray.shutdown()
            if attempt == START_TRIES - 1:
                raise ClusterError(f"Ray does not start on this machine: {str(fault).splitlines()[0]}") from fault


def lasting() -> dict[str, Any]:
    """Options of an actor that workers report to: on the driver's node, for Ray would start one that claims nothing on
    any, to be lost with it; and started again should it die there."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "scheduling_strategy": here}


def placement_groups() -> set[str]:
    """The ids of those of this driver's job that claim a part of the cluster; ids end in their job's."""
    job = ray.get_runtime_context().get_job_id()
    table = placement_group_table()
    return {name for name, facts in table.items() if name.endswith(job) and facts["state"] != "REMOVED"}


def release(groups: Collection[str]) -> None:
    """Remove placement groups, with what they claim and who works there."""
    for name in groups:
        remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(name))))


def accelerators() -> int:
    """GPUs of the cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def cores() -> int:
    """Logical CPUs of the cluster."""
    return max(int(ray.cluster_resources().get("CPU", 1)), 1)


def demand(workers: int, cpus: float, gpus: float, what: str) -> None:
    """Refuse a plan that could never be scheduled, which Ray would wait on for ever.

    Raises:
        ClusterError: the cluster has too few CPUs or GPUs in all, or none of its nodes holds one worker.
    """
    have = ray.cluster_resources()
    for name, each in (("CPU", cpus), ("GPU", gpus)):
        if each and workers * each > have.get(name, 0) + 1e-6:
            raise ClusterError(
                f"{what} needs {workers} x {each:g} {name}, and the cluster has {have.get(name, 0):g}; "
                f"ask for fewer workers, or for less {name} for each"
            )
    alive = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if not any(n.get("CPU", 0) >= cpus and n.get("GPU", 0) >= gpus for n in alive):
        raise ClusterError(f"{what} needs {cpus:g} CPU and {gpus:g} GPU on one node, and no node has that")
