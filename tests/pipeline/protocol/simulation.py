"""The product in a small world of a test's own: its clock, its identifiers, one thread, one worker, cheap passcodes."""

import contextlib
import datetime
import hashlib
import itertools
import sys
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest
import structlog
import torch

from recast.pipeline import cluster, events
from recast.pipeline.bulk import manifest, pool
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.operation import OperationPayload
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.deidentify.secrets import codes, seal
from recast.pipeline.output import lease
from recast.pipeline.training import records
from tests.pipeline.protocol.store import running

REPLACED = {"ThreadPoolExecutor": ThreadPoolExecutor, "time": time, "datetime": datetime, "uuid": uuid}
"""By the name that the product's modules have them under."""


class Inline:
    """A thread pool that does what it is given at once, so that calls to the store have one order."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: Any) -> None: ...
    def shutdown(self, *_: Any, **__: Any) -> None: ...

    def submit(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except BaseException as fault:
            future.set_exception(fault)
        return future

    def map(self, work: Callable[..., Any], *items: Any) -> Iterator[Any]:
        return iter([work(*each) for each in zip(*items, strict=False)])


class Clock(types.ModuleType):
    """`time` as the running process sees it. Whoever sleeps passes the time, unless the test has another way."""

    def __init__(self) -> None:
        super().__init__("time")

    def time(self) -> float:
        return running().bucket.now_s + running().skew_s

    def monotonic(self) -> float:
        return running().bucket.now_s

    perf_counter = monotonic

    def monotonic_ns(self) -> int:
        return int(running().bucket.now_s * 1e9)

    perf_counter_ns = monotonic_ns

    def sleep(self, seconds: float) -> None:
        running().wait("SLEEP", lambda: False, seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _DateTime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(running().bucket.now_s + running().skew_s, tz)


def _dates() -> types.ModuleType:
    dates = types.ModuleType("datetime")
    vars(dates).update({**vars(datetime), "datetime": _DateTime})
    return dates


def _identifiers() -> types.ModuleType:
    """Unique, and the same when a test is repeated."""
    count = itertools.count()
    made = types.ModuleType("uuid")
    digest = lambda: hashlib.blake2b(str(next(count)).encode(), digest_size=16).digest()  # noqa: E731  # as short as what it replaces
    vars(made).update({**vars(uuid), "uuid4": lambda: uuid.UUID(bytes=digest())})
    return made


class LeaseThread:
    """The thread that renews a lease: one of the process's own where the test has several, else one that never runs."""

    def __init__(self, *, target: Callable[[], None], **_: Any) -> None:
        self._target = target
        self._ended: Callable[[], bool] = lambda: True

    def start(self) -> None:
        if spawn := running().spawn:
            self._ended = spawn(self._target)

    def join(self, timeout: float | None = None) -> None:
        running().wait("JOIN", self._ended, timeout)

    def is_alive(self) -> bool:
        return not self._ended()


class LeaseEvent:
    """An event of threads that take turns."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        running().wait("WAIT", self.is_set, timeout)
        return self._set


class LeaseLock:
    """A lock of threads that take turns."""

    def __init__(self) -> None:
        self._held = False

    def __enter__(self) -> None:
        running().wait("LOCK", lambda: not self._held, None)
        self._held = True

    def __exit__(self, *_: Any) -> None:
        self._held = False


def _lease_threads() -> types.ModuleType:
    made = types.ModuleType("threading")
    vars(made).update({**vars(threading), "Thread": LeaseThread, "Event": LeaseEvent, "Lock": LeaseLock})
    return made


def _hosts() -> types.ModuleType:
    made = types.ModuleType("socket")
    vars(made).update({**vars(lease.socket), "gethostname": lambda: running().name})
    return made


def _stretched(passcode: seal.Secret, salt: bytes, *_: Any, **__: Any) -> bytes:
    return hashlib.sha256(salt + passcode.reveal()).digest()


class OneWorker:
    """In place of a pool on Ray: a worker that is this process."""

    device, threads, actors = "cpu", 0, 1

    def __init__(self, job: BulkJob, payload: OperationPayload, progress: object) -> None:
        self._payload = payload

    def map(self, settings: WorkerSettings, units: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
        worker = UnitWorker(settings, self._payload)
        for unit in units:
            yield from worker(unit).to_pylist()

    def set_planned(self, inputs: int) -> None: ...
    def add(self, counts: Mapping[str, int]) -> None: ...
    def close(self) -> None: ...


class NoLog:
    """In place of a training's TensorBoard log, which isn't part of the protocol."""

    def __init__(self, *_: Any) -> None: ...
    def scalars(self, *_: Any) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...

    def samples(self, *_: Any) -> bytes:
        return b"png"


@contextlib.contextmanager
def simulated() -> Iterator[None]:
    """Whatever of the product is called meanwhile lives in the running process's world."""
    stand_ins = {"ThreadPoolExecutor": Inline, "time": Clock(), "datetime": _dates(), "uuid": _identifiers()}
    quiet = structlog.wrap_logger(structlog.PrintLogger(), processors=[_dropped])
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        import recast.jobs.index
        import recast.pipeline.bulk.here  # noqa: F401  # so that all that writes outputs is replaced below

        patch.setattr(pool, "Pool", OneWorker)
        patch.setattr(cluster, "connected", contextlib.nullcontext)
        for name, module in list(sys.modules.items()):
            if name.startswith("recast.") and module is not None:
                for attribute, real in REPLACED.items():
                    if vars(module).get(attribute) is real:
                        patch.setattr(module, attribute, stand_ins[attribute])
        patch.setattr(lease, "threading", _lease_threads())
        patch.setattr(lease, "socket", _hosts())
        patch.setattr(lease, "born", lambda: running().name)
        patch.setattr(lease, "is_gone", lambda pid, born: born in running().bucket.gone)
        patch.setattr(seal, "stretched", _stretched)
        # Always one key, so that hidden names, and with them what lies in which shard, are the same in each repetition.
        patch.setattr(seal, "new_key", lambda: seal.Secret(bytes(range(seal.KEY_BYTES))))
        patch.setattr(codes, "stretched", _stretched)
        patch.setattr(records, "TrainingLog", NoLog)
        patch.setattr(manifest, "versions", dict)
        patch.setattr(events, "log", lambda **_: quiet)
        patch.setattr(events, "driver_log", lambda **_: quiet)
        yield


def _dropped(*_: Any) -> Any:
    raise structlog.DropEvent
