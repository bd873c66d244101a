"""Seals: originals of replaced regions, encrypted so that the passcode brings them back, and nothing else does.

A random key seals everything in an output. It lies beside the seals, itself encrypted ("wrapped") under a key that
scrypt (RFC 7914) makes of the passcode; salt and costs lie with it. So a passcode can be changed without touching a
seal. Each image has a key of its own, derived by HKDF (RFC 5869) from the output's key and the image's key; AES-256-GCM
(NIST SP 800-38D) with random nonces encrypts each region, and binds it to the image, its place and the published bytes:
what is moved, cut or changed doesn't open.
"""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from recast.pipeline import storage
from recast.pipeline.deidentify.traces import sealed_there
from recast.pipeline.storage import FileSystem

FORMAT = "recast-seal/1"
LOCK = "seals/lock.json"
NONCE_BYTES, KEY_BYTES, SALT_BYTES = 12, 32, 16
COSTS = {"n": 2**17, "r": 8, "p": 1}
"""Cost parameters of scrypt, as OWASP recommends: 128 MiB and some tenths of a second for each guess."""
LEAST_N, MOST_N, LEAST_R, MOST_R, MOST_P = 2**14, 2**20, 8, 32, 16
"""What a file may ask of scrypt: less would make guessing cheap, more would stop whoever opens it."""
MOST_STRETCHING_BYTES = 1 << 30
MOST_FILE_BYTES = 1 << 16
NAME_BLOCK_BYTES = 256
"""Sealed names are filled up to a multiple of this, so that their lengths tell nothing."""

Box = tuple[int, int, int, int]
T = TypeVar("T")


class SealError(Exception):
    """A seal that can't be made or opened; the message tells nothing that is sealed."""

    exit_status = 1


class Secret:
    """Bytes that never show: not in a repr, a log or an error."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, kw_only=True)
class Lock:
    """What lies beside the seals."""

    salt: str
    n: int
    r: int
    p: int
    wrapped: str
    """The key of the seals, encrypted under what scrypt makes of the passcode."""

    def key(self, passcode: Secret) -> Secret:
        """The key of the seals. Raises SealError for another passcode, or a changed lock."""
        try:
            wrapping = stretched(passcode, base64.b64decode(self.salt), self.n, self.r, self.p)
            data = base64.b64decode(self.wrapped)
            return Secret(AESGCM(wrapping).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], FORMAT.encode()))
        except (InvalidTag, ValueError):
            raise SealError("the passcode doesn't fit these seals, or their lock was changed") from None


def lock_for(passcode: Secret, key: Secret) -> Lock:
    """A lock with a fresh salt that this passcode opens to that key."""
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    wrapped = nonce + AESGCM(stretched(passcode, salt, **COSTS)).encrypt(nonce, key.reveal(), FORMAT.encode())
    return Lock(salt=_text(salt), wrapped=_text(wrapped), **COSTS)


def new_key() -> Secret:
    return Secret(os.urandom(KEY_BYTES))


def sealing_key(fs: FileSystem, output: str, passcode: Secret, *, fresh: bool = True) -> Secret | None:
    """The key to seal with in an output: where nothing is sealed yet a fresh one, with its lock, or with `fresh` off
    None.

    Raises:
        SealError: what is sealed there was sealed under another passcode.
    """
    lock = read_lock(fs, output)
    if lock is None and not fresh:
        return None
    if lock is None:
        key = new_key()
        write_lock(fs, output, lock_for(passcode, key))
        return key
    return lock.key(passcode)


def opened_lock(output: str, passcode: Secret) -> Secret:
    """The key of an output's seals. Raises SealError where nothing is sealed, or the passcode doesn't fit."""
    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"reading the lock of {output}"):
        lock = read_lock(fs, path)
    if lock is None:
        raise SealError(f"nothing is sealed in {output}")
    return lock.key(passcode)


def relock(output: str, key: Secret, passcode: Secret) -> None:
    """Let another passcode open an output's seals, none of which is touched.

    Who kept a copy of the lock and knows the old passcode can still open them.
    """
    fs, path = storage.filesystem(output)
    with storage.faults_as_sentences(f"changing the lock of {output}"):
        write_lock(fs, path, lock_for(passcode, key))


def read_lock(fs: FileSystem, output: str) -> Lock | None:
    """An output's lock; None where nothing is sealed.

    Raises:
        SealError: it is damaged, or it is missing though things are sealed: a new key would not open them.
    """
    lock = read_stretching(fs, output, LOCK, FORMAT, Lock, "without it nothing sealed opens")
    if lock is None and (found := sealed_there(fs, output)):
        raise SealError(
            f"{LOCK} is missing from {storage.uri(fs, output)}, while {found}: nothing of that opens without it. Put "
            f"the file back from a backup, or choose another output"
        )
    return lock


def read_stretching(fs: FileSystem, output: str, name: str, form: str, kind: type[T], loss: str) -> T | None:
    """A file that says, among other things, how scrypt is to stretch a passcode; None where there is none.

    Raises:
        SealError: it is damaged, or asks for more or less work than anyone meant; the sentence says what is lost.
    """
    try:
        facts = json.loads(storage.read_bytes(fs, storage.join(output, name), 0, MOST_FILE_BYTES))
        if facts.pop("format") != form or not _bounded(facts["n"], facts["r"], facts["p"]):
            raise ValueError
        texts = [value for name, value in facts.items() if name not in ("n", "r", "p")]
        if any(len(base64.b64decode(text, validate=True)) < SALT_BYTES for text in texts):
            raise ValueError
        return kind(**facts)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SealError(f"{name} in {storage.uri(fs, output)} is damaged: {loss}") from None


def _bounded(n: object, r: object, p: object) -> bool:
    """Whether scrypt may be asked for that: whole numbers, n a power of two, neither cheap nor endless."""
    if type(n) is not int or type(r) is not int or type(p) is not int:
        return False
    inside = LEAST_N <= n <= MOST_N and LEAST_R <= r <= MOST_R and 1 <= p <= MOST_P
    return inside and n & (n - 1) == 0 and 128 * n * r <= MOST_STRETCHING_BYTES


def write_lock(fs: FileSystem, output: str, lock: Lock) -> None:
    data = json.dumps({"format": FORMAT, **asdict(lock)}, indent=2).encode()
    storage.write_bytes(fs, storage.join(output, LOCK), data)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a seal held."""

    pixels: np.ndarray
    number: int
    """Which of the image's seals it is, from 0; -1 where it was written before seals were counted."""
    of: int
    """How many seals the image has; 0 where they were not counted."""


def sealed(
    key: Secret, name: str, published: str, box: Box, original: np.ndarray, number: int = 0, of: int = 1
) -> bytes:
    """A region's original pixels, uint8 or uint16 [h, w, C], encrypted.

    Args:
        name: the image's key in the output.
        published: the sha256 of the image as published.
        number: which of the image's seals this is, from 0.
        of: how many the image has, so that a missing one is noticed.
    """
    facts = {"dtype": original.dtype.name, "shape": list(original.shape), "number": number, "of": of}
    head = json.dumps(facts).encode()
    plain = head + b"\0" + zlib.compress(np.ascontiguousarray(original).tobytes(), 6)
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher(key, name).encrypt(nonce, plain, _bound(name, published, box))


def opened(key: Secret, name: str, published: str, box: Box, data: bytes) -> Opened:
    """What `sealed` was given. Raises SealError if any byte is not as it was."""
    try:
        plain = _cipher(key, name).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _bound(name, published, box))
    except (InvalidTag, ValueError):
        raise SealError("its seal was changed, or belongs to another image") from None
    head, _, body = plain.partition(b"\0")
    facts = json.loads(head)
    pixels = np.frombuffer(zlib.decompress(body), facts["dtype"]).reshape(facts["shape"])
    return Opened(pixels=pixels, number=facts.get("number", -1), of=facts.get("of", 0))


def sealed_text(key: Secret, name: str, text: str) -> bytes:
    """A text that belongs to an image, encrypted."""
    nonce, plain = os.urandom(NONCE_BYTES), text.encode("utf-8", "surrogatepass")
    plain += b"\0" * (-len(plain) % NAME_BLOCK_BYTES)
    return nonce + _cipher(key, name).encrypt(nonce, plain, _bound(name, "text", ()))


def opened_text(key: Secret, name: str, data: bytes) -> str:
    """What `sealed_text` was given. Raises SealError if any byte is not as it was."""
    try:
        plain = _cipher(key, name).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _bound(name, "text", ()))
    except (InvalidTag, ValueError):
        raise SealError("a sealed name was changed, or belongs to another image") from None
    return plain.rstrip(b"\0").decode("utf-8", "surrogatepass")


def derived(key: Secret, purpose: str) -> Secret:
    """A key for another purpose, from which nothing of this one follows."""
    return Secret(HKDF(SHA256(), KEY_BYTES, None, f"{FORMAT}\n\n{purpose}".encode()).derive(key.reveal()))


def stretched(passcode: Secret, salt: bytes, n: int, r: int, p: int) -> bytes:
    most_bytes = 128 * r * (n + p + 2) + (1 << 20)
    return hashlib.scrypt(passcode.reveal(), salt=salt, n=n, r=r, p=p, maxmem=most_bytes, dklen=KEY_BYTES)


def _cipher(key: Secret, name: str) -> AESGCM:
    derived = HKDF(SHA256(), KEY_BYTES, None, f"{FORMAT}\n{name}".encode("utf-8", "surrogatepass"))
    return AESGCM(derived.derive(key.reveal()))


def _bound(name: str, published: str, box: Sequence[int]) -> bytes:
    """The associated data: what a seal belongs to."""
    return json.dumps([FORMAT, name, published, list(box)]).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
