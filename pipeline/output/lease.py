"""One writer at a time: a lease in the output that keeps overlapping runs out and that outlives no dead writer.

Every taking of the lease is a *turn* and has a number, its epoch, which grows. The rows that a turn writes carry it,
and so do the names of its files: who was overtaken and comes late changes nothing of a later turn's. Clocks decide
nothing: a lease is taken from a holder whose process is known to be dead, or after watching for `EXPIRE_S`, by one's
own monotonic clock, that it is not renewed; and a holder gives up by itself once it couldn't renew for that long.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from types import TracebackType

from recast.pipeline import storage
from recast.pipeline.output.processes import born, is_gone
from recast.pipeline.storage import FileSystem

NAME = "lease.json"
RENEW_S = 10.0
EXPIRE_S = 60.0
SETTLE_S = 1.0
"""How long a writer on storage without conditional writes waits before it looks whether its lease is still its own."""
MAX_BYTES = 1 << 16
MAX_EPOCH = 1 << 53
WRONG_ETAG = "0" * 32
"""The ETag of no file."""


class LeaseError(Exception):
    """The output has another writer; the message says which."""

    exit_status = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who writes an output, or wrote it last."""

    run: str
    token: str
    host: str
    pid: int
    born: str
    """When the process started, and where: process ids are used again, and in other containers for other processes."""
    renewed_at: float
    """Seconds since 1970, by the holder's clock; for people."""
    epoch: int = 0
    """The number of this turn."""
    released: bool = False
    """Whether the holder is done."""


UNKNOWN = Holder(run="unknown", token="", host="unknown", pid=0, born="", renewed_at=0.0)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a process shows to write during a turn: the lease must still be the one that this names."""

    token: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Seen:
    """lease.json at one look: its bytes and ETag, and whom they name."""

    data: bytes
    etag: str
    holder: Holder


def confirm(fs: FileSystem, output: str, claim: Claim) -> None:
    """Read lease.json, and raise LeaseError if it isn't the claim's any more. Everything that counts is written, and
    everything is removed, right after this."""
    seen = _look(fs, storage.join(output, NAME))
    if seen is None or seen.holder.token != claim.token or seen.holder.released:
        by = f" by run {_shown(seen.holder.run)}" if seen and seen.holder.token != claim.token else ""
        raise LeaseError(
            f"{storage.uri(fs, output)} was taken over{by} while this run could not renew its lease; this one stops, "
            "and what it had not committed doesn't count"
        )


class Lease:
    """Hold it as a context manager around everything that writes to the output. The file stays, released, and keeps the
    epoch.

    On local disk taking it is atomic. On object storage it is as atomic as the store's conditional writes. On stores
    without them a writer waits `SETTLE_S` after it wrote and looks again, and one whose write took longer than that
    waits until a faster one has noticed that it lost.
    """

    def __init__(self, fs: FileSystem, output: str, run: str) -> None:
        self._fs, self._path, self._folder = fs, storage.join(output, NAME), output
        self._me = Holder(
            run=run, token=uuid.uuid4().hex, host=socket.gethostname(), pid=os.getpid(), born=born(),
            renewed_at=time.time(),
        )  # fmt: skip
        self._conditional = False
        """Whether the store was seen to refuse a write whose condition did not hold."""
        self.overtook_at: float | None = None
        """By the monotonic clock: when this one took over from a holder that had not released it, if it did."""
        self._renewed, self._trouble = time.monotonic(), ""
        self._stop, self._lost, self._renewing = threading.Event(), threading.Event(), threading.Lock()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        silent: Seen | None = None
        try:
            while not self._take(silent):
                silent = self._watched()
        except BaseException:
            with contextlib.suppress(Exception):  # it may have been written before something went wrong
                self._release()
            raise
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._renewer.join()
        with contextlib.suppress(Exception):  # a lease left behind expires; a fault here must not hide the run's own
            self._release()

    @property
    def claim(self) -> Claim:
        return Claim(self._me.token, self._me.epoch)

    def check(self) -> None:
        """Raise LeaseError if another writer has taken over, or may have: no renewal came through for `EXPIRE_S`."""
        if self._lost.is_set():
            raise LeaseError(
                "another run took over this output while this one could not renew its lease; this one stops"
            )
        if time.monotonic() - self._renewed > EXPIRE_S:
            raise LeaseError(
                f"this run could not renew its lease on {storage.uri(self._fs, self._folder)} for {EXPIRE_S:.0f} s"
                f"{f' ({self._trouble})' if self._trouble else ''}, and another may take over; this one stops. Run it "
                "again when the storage answers"
            )

    def confirm(self) -> None:
        """`check`, and a look at the lease itself."""
        self.check()
        confirm(self._fs, self._folder, self.claim)

    def above(self, epoch: int) -> None:
        """Make this turn's epoch the greater one: an index may have rows of later turns than its lease knows of."""
        if epoch >= self._me.epoch:
            with self._renewing:
                self._me = dataclasses.replace(self._me, epoch=epoch + 1)
                self._renew_once()
            self.check()

    def _take(self, silent: Seen | None) -> bool:
        """Whether the lease could be had: nobody holds it, or a process that is gone, or one that was watched."""
        with self._alone():
            began = time.monotonic()
            seen = _look(self._fs, self._path)
            free = seen is None or seen.holder.released or is_gone(seen.holder.pid, seen.holder.born)
            watched = seen is not None and silent is not None and seen.data == silent.data
            if not free and not watched:
                return False
            self._seize(seen, began)
            self.overtook_at = time.monotonic() if seen and not seen.holder.released else None
        return True

    def _watched(self) -> Seen | None:
        """Whoever holds the lease, if it wasn't renewed for `EXPIRE_S`. Raises LeaseError if it was, or seems to be."""
        first = seen = _look(self._fs, self._path)
        until = time.monotonic() + EXPIRE_S
        while first and seen and not seen.holder.released:
            if seen.data != first.data or _seems_fresh(seen.holder):
                raise LeaseError(self._refusal(seen.holder))
            if time.monotonic() >= until:
                break
            time.sleep(RENEW_S / 5)
            seen = _look(self._fs, self._path)
        return seen

    def _refusal(self, holder: Holder) -> str:
        ago = time.time() - holder.renewed_at
        last = f"last seen {ago:.0f} s ago" if ago >= 0 else f"last seen {-ago:.0f} s from now, by its clock"
        return (
            f"{storage.uri(self._fs, self._folder)} is being written by run {_shown(holder.run)} on "
            f"{_shown(holder.host)} (process {holder.pid}, {last}); wait until it is done, or stop it. If it is dead, "
            f"run this again: a lease that is not renewed for {EXPIRE_S:.0f} s is taken over"
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

    def _seize(self, seen: Seen | None, began: float) -> None:
        """Write this holder in the place of what was seen, and make sure that nobody else did at the same time."""
        epoch = seen.holder.epoch + 1 if seen else 1
        self._me = dataclasses.replace(self._me, epoch=epoch, renewed_at=time.time())
        if storage.is_local(self._fs):
            self._put()
            return
        try:
            self._put(seen.etag if seen else None, conditional=True)
            self._conditional = self._refuses_wrong_conditions(created=seen is None)
        except storage.RefusedError as fault:
            now = _look(self._fs, self._path)
            if seen is None or now is None or now.data != seen.data:
                raise LeaseError("another run took this output a moment ago; run again when it is done") from fault
            self._put()  # nothing has changed: the store's conditions are not as we write them
        if not self._conditional:
            self._settle(time.monotonic() - began)

    def _refuses_wrong_conditions(self, *, created: bool) -> bool:
        """Whether the store knows conditions, by what it does: where it doesn't, this writes again what is there."""
        try:
            storage.write_if(self._fs, self._path, self._data(), WRONG_ETAG)
        except storage.RefusedError:
            if not created:
                return True
        else:
            return False
        try:
            storage.write_if(self._fs, self._path, self._data(), None)
        except storage.RefusedError:
            return True
        return False

    def _settle(self, took_s: float) -> None:
        """Wait until whoever looked before this one wrote has written too; then see whose the lease is.

        Of those whose look and write took less than `SETTLE_S` each sees the last, and one goes on. A slower one may
        have overwritten one that has looked already and is at work: it waits until that one's renewal must have
        noticed, and takes an epoch of its own, so that what the other commits until then doesn't count.
        """
        slow = took_s >= SETTLE_S
        time.sleep(RENEW_S + 2 * took_s if slow else SETTLE_S)
        seen = _look(self._fs, self._path)
        if seen is None or seen.holder.token != self._me.token:
            raise LeaseError("another run took this output at the same moment; run again when it is done")
        if slow:
            self.above(self._me.epoch + secrets.randbelow(1 << 20))

    def _renew(self) -> None:
        while not self._stop.wait(RENEW_S) and not self._lost.is_set():
            try:
                with self._renewing:
                    self._renew_once()
            except Exception as fault:  # the next renewal tries again, and `check` tells if none succeeds
                self._trouble = storage.sentence(fault)

    def _renew_once(self) -> None:
        """Say that this holder is alive, if the lease is still its own."""
        seen = _look(self._fs, self._path)
        if seen is None or seen.holder.token != self._me.token:
            self._lost.set()
            return
        self._me = dataclasses.replace(self._me, renewed_at=time.time())
        self._put(seen.etag, conditional=self._conditional)

    def _release(self) -> None:
        seen = _look(self._fs, self._path)
        if seen and seen.holder.token == self._me.token:
            self._me = dataclasses.replace(self._me, released=True)
            self._put(seen.etag, conditional=self._conditional)

    def _data(self) -> bytes:
        return json.dumps(asdict(self._me)).encode()

    def _put(self, etag: str | None = None, *, conditional: bool = False) -> None:
        """Write this holder. An answer that was lost looks like a fault, or, where a library then tried again, like a
        refusal by what it wrote itself; what lies in storage tells."""
        sent, data = time.monotonic(), self._data()
        try:
            if conditional:
                storage.write_if(self._fs, self._path, data, etag)
            else:
                storage.write_bytes(self._fs, self._path, data)
        except Exception as fault:
            if not (isinstance(fault, storage.RefusedError) or storage.is_storage_fault(fault)):
                raise
            seen = _look(self._fs, self._path)
            if seen is None or seen.data != data:
                raise
        self._renewed, self._trouble = sent, ""


def _look(fs: FileSystem, path: str) -> Seen | None:
    try:
        data, etag = storage.read_tagged(fs, path, MAX_BYTES)
    except FileNotFoundError:
        return None
    return Seen(data, etag, _parsed(data))


def _parsed(data: bytes) -> Holder:
    """Whom a lease names. Written by other versions, or by nobody who meant a lease, it names an unknown one."""
    try:
        facts = json.loads(data)
        known = {field.name: facts[field.name] for field in dataclasses.fields(Holder) if field.name in facts}
        holder = Holder(**known)
        sound = all(isinstance(text, str) for text in (holder.run, holder.token, holder.host, holder.born))
        numbers = (holder.pid, holder.epoch, holder.renewed_at)
        sound &= all(isinstance(n, (int, float)) and 0 <= n <= MAX_EPOCH for n in numbers)
        return holder if sound and isinstance(holder.epoch, int) and isinstance(holder.pid, int) else UNKNOWN
    except (ValueError, TypeError, KeyError, RecursionError):
        return UNKNOWN


def _seems_fresh(holder: Holder) -> bool:
    """Whether a lease seems to have been renewed just now, as far as two hosts' clocks agree. To believe that wrongly
    costs a refusal, and no more."""
    return abs(time.time() - holder.renewed_at) < EXPIRE_S


def _shown(text: str) -> str:
    """A word of a stranger's, fit for a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:100])
