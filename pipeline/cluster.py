"""The Ray cluster that a job runs on: the one that RAY_ADDRESS names, or one of its own on this machine."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from typing import Any

import ray
import ray._private.utils
from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from recast.pipeline import reach
from recast.pipeline.reasons import words

OBJECT_STORE_BYTES = 400 << 20
"""The object store of a cluster of our own. Plans and results are small, and pixels never pass through it."""

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
    try:
        if address := reach.cluster_address():
            _join(address)
        else:
            _start(object_store_bytes)
        yield
    finally:
        ray.shutdown()


def _join(address: str) -> None:
    """Connect to a cluster that is there. Raises ClusterError, soon, where none answers."""
    if said := reach.unreachable(address):
        raise ClusterError(f"{said}; start one, or correct or unset RAY_ADDRESS")
    try:
        with _quiet():
            ray.init(log_to_driver=False, logging_level="error")
    except Exception as fault:  # Ray raises ConnectionError, RuntimeError and a bare Exception for this
        raise ClusterError(f"the Ray cluster at RAY_ADDRESS={address} can't be joined: {words(fault)}") from fault


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let Ray start without its word on standard error, where its core announces its log level, and without its way
    with SIGTERM, where this process has one of its own: Ray's ends it with a core before the cluster is shut down."""
    own = signal.getsignal(signal.SIGTERM)
    with _stderr_closed():
        if not callable(own) or threading.current_thread() is not threading.main_thread():
            yield
            return
        setter = ray._private.utils.set_sigterm_handler
        ray._private.utils.set_sigterm_handler = lambda handler: None
        try:
            yield
        finally:
            ray._private.utils.set_sigterm_handler = setter
            signal.signal(signal.SIGTERM, own)  # again, for Ray's core puts one before it


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
            with _quiet():
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
                raise ClusterError(f"Ray does not start on this machine: {words(fault)}") from fault


def driver_node_options() -> dict[str, Any]:
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
            advice = (
                f"ask for fewer workers, or for less {name} for each"
                if have.get(name)
                else "add nodes that have some first, for a job counts those that are there when it starts"
            )
            raise ClusterError(
                f"{what} needs {workers} x {each:g} {name}, and the cluster has {have.get(name, 0):g}; {advice}"
            )
    alive = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if not any(n.get("CPU", 0) >= cpus and n.get("GPU", 0) >= gpus for n in alive):
        raise ClusterError(f"{what} needs {cpus:g} CPU and {gpus:g} GPU on one node, and no node has that")
