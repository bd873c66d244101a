"""One writer at a time: a lease in the output that keeps overlapping runs out and that outlives no dead writer."""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import TracebackType

from recast.pipeline import storage
from recast.pipeline.storage import FileSystem

NAME = "lease.json"
RENEW_S = 10.0
EXPIRE_S = 60.0
SETTLE_S = 1.0
"""How long a writer on storage without conditional writes waits before it looks whether its lease is still its own."""


class LeaseError(Exception):
    """The output has another writer; the message says which."""

    exit_status = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who writes an output, and when it last said so."""

    run: str
    token: str
    host: str
    pid: int
    born: str
    """When the process started, as the kernel counts: process ids are used again."""
    renewed_at: float
    """Seconds since the epoch, by the holder's clock."""


class Lease:
    """Hold it as a context manager around everything that writes to the output.

    On local disk taking it is atomic. On object storage it is as atomic as the store's conditional writes; on stores
    without them two writers that start within the same second see each other, and at least one gives way.
    """

    def __init__(self, fs: FileSystem, output: str, run: str) -> None:
        self._fs, self._path, self._folder = fs, storage.join(output, NAME), output
        self._me = Holder(
            run=run, token=uuid.uuid4().hex, host=socket.gethostname(), pid=os.getpid(), born=_born(os.getpid()),
            renewed_at=time.time(),
        )  # fmt: skip
        self._stop, self._lost = threading.Event(), threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        with self._alone():
            holder = self._holder()
            if holder and not self._abandoned(holder):
                ago = max(time.time() - holder.renewed_at, 0)
                raise LeaseError(
                    f"{storage.uri(self._fs, self._folder)} is being written by run {holder.run} on {holder.host} "
                    f"(process {holder.pid}, last seen {ago:.0f} s ago); wait until it is done, or stop it"
                )
            self._write(first=holder is None)
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._renewer.join()
        with contextlib.suppress(Exception):  # a lease left behind expires; a fault here must not hide the run's own
            if self._is_mine():
                storage.remove(self._fs, self._path)

    def check(self) -> None:
        """Raise LeaseError if another writer has taken over."""
        if self._lost.is_set():
            raise LeaseError(
                "another run took over this output while this one could not renew its lease; this one stops"
            )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """On local disk, no two processes look and take at the same time."""
        if not storage.is_local(self._fs):
            yield
            return
        os.makedirs(self._folder, exist_ok=True)
        with open(os.path.join(self._folder, ".lease.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, *, first: bool) -> None:
        data = json.dumps(asdict(self._me)).encode()
        if storage.is_local(self._fs):
            storage.write_bytes(self._fs, self._path, data)
            return
        try:
            self._fs.pipe_file(self._path, data, **({"mode": "create"} if first else {}))
        except FileExistsError as fault:
            raise LeaseError("another run took this output a moment ago; run again when it is done") from fault
        time.sleep(SETTLE_S)
        if not self._is_mine():
            raise LeaseError("another run took this output at the same moment; run again when it is done")

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S):
            with contextlib.suppress(OSError, json.JSONDecodeError):  # storage hiccups; the next renewal tries again
                if not self._is_mine():
                    self._lost.set()
                    return
                now = {**asdict(self._me), "renewed_at": time.time()}
                storage.write_bytes(self._fs, self._path, json.dumps(now).encode())

    def _is_mine(self) -> bool:
        holder = self._holder()
        return holder is not None and holder.token == self._me.token

    def _holder(self) -> Holder | None:
        try:
            return Holder(**json.loads(storage.read_bytes(self._fs, self._path)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            return Holder(run="unknown", token="", host="unknown", pid=0, born="", renewed_at=0.0)

    def _abandoned(self, holder: Holder) -> bool:
        """Dead for sure (its process on this host is gone), or silent for EXPIRE_S and still so a renewal later."""
        if holder.host == self._me.host and _born(holder.pid) != holder.born:
            return True
        if time.time() - holder.renewed_at < EXPIRE_S:
            return False
        time.sleep(RENEW_S * 1.2)  # clocks differ between hosts: what counts is that it doesn't renew
        return self._holder() == holder


def _born(pid: int) -> str:
    """The start time of a process in clock ticks since boot, with the boot's own id; empty if no such process runs."""
    try:
        with open(f"/proc/{pid}/stat") as stat, open("/proc/sys/kernel/random/boot_id") as boot:
            facts = stat.read().rpartition(")")[2].split()
            return "" if facts[0] in "ZX" else f"{boot.read().strip()}+{facts[19]}"
    except OSError:
        return ""
