"""Codes for the faces of an output: 128 bits for each, from a passcode and the face's name, by scrypt and HKDF.

Unlike the lock of the seals, nothing here tells a right passcode from a wrong one: whoever tries must look at faces.
"""

import base64
import json
import os
from dataclasses import asdict, dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from recast.pipeline import storage
from recast.pipeline.deidentify.secrets.seal import COSTS, SALT_BYTES, SealError, Secret, read_stretching, stretched
from recast.pipeline.deidentify.traces import painted_there
from recast.pipeline.storage import FileSystem

FORMAT = "recast-codes/1"
CODES = "seals/codes.json"
CODE_BYTES = 16
"""128 bits."""
ACTIONS = ("deidentify", "passcode")
"""What the index calls what is done to faces with codes."""


@dataclass(frozen=True, kw_only=True)
class Salt:
    """What lies in the output, for nobody's secret."""

    salt: str
    n: int
    r: int
    p: int


def codes_key(fs: FileSystem, output: str, passcode: Secret, *, fresh: bool) -> Secret:
    """What the codes of an output's faces are derived from.

    Args:
        fresh: write a salt where there is none.

    Raises:
        SealError: there is none, or it is damaged.
    """
    salt = read_salt(fs, output)
    if salt is None:
        if not fresh:
            raise SealError(f"no face in {storage.uri(fs, output)} was made from a code; there is no {CODES}")
        salt = Salt(salt=base64.b64encode(os.urandom(SALT_BYTES)).decode(), **COSTS)
        data = json.dumps({"format": FORMAT, **asdict(salt)}, indent=2).encode()
        storage.write_bytes(fs, storage.join(output, CODES), data)
    return Secret(stretched(passcode, base64.b64decode(salt.salt), salt.n, salt.r, salt.p))


def read_salt(fs: FileSystem, output: str) -> Salt | None:
    """What lies in an output for its codes; None where no face was made from one.

    Raises:
        SealError: it is damaged, or missing though faces were made with it.
    """
    salt = read_stretching(fs, output, CODES, FORMAT, Salt, "no face made from a code comes back")
    if salt is None and painted_there(fs, output, ACTIONS):
        raise SealError(
            f"{CODES} is missing from {storage.uri(fs, output)}, while its index tells of faces that were made with "
            f"it: new ones would be other people's. Put the file back from a backup, or choose another output"
        )
    return salt


def code(key: Secret, name: str) -> bytes:
    """The code of one face."""
    derived = HKDF(SHA256(), CODE_BYTES, None, f"{FORMAT}\n{name}".encode("utf-8", "surrogatepass"))
    return derived.derive(key.reveal())
