"""Passcodes: from a file, an environment variable or a prompt, and never from an argument, which everybody can read."""

import getpass
import os
import sys

from recast.jobs.specs import SpecError, place
from recast.pipeline import storage
from recast.pipeline.deidentify.secrets.seal import Secret

LEAST_BYTES = 8
"""A shorter one is found by trying."""


def passcode(file: str | None, variable: str | None, *, of: str = "", twice: bool = False) -> Secret:
    """The passcode that a file holds (its first line), or an environment variable, or that is typed at a terminal.

    Args:
        of: which passcode it is, as the prompt and the errors name it.
        twice: whether it is typed a second time, since nothing could tell a slip of the fingers.

    Raises:
        SpecError: there is none, it is too short, or it was typed in two ways.
        StorageError: the file can't be read.
    """
    if file and variable:
        raise SpecError(f"the {of}passcode can come from a file or from a variable, not from both")
    if file:
        fs, path = storage.filesystem(place(file))
        with storage.faults_as_sentences(f"reading the {of}passcode"):
            value = storage.read_bytes(fs, path).partition(b"\n")[0].removesuffix(b"\r")
    elif variable:
        if variable not in os.environ:
            raise SpecError(f"the environment has no variable {variable}")
        value = os.environ[variable].encode()
    elif sys.stdin.isatty():
        value = _typed(f"{of}passcode: ")
        _check(value, of)
        if twice and _typed(f"{of}passcode, once more: ") != value:
            raise SpecError(f"the {of}passcode was typed in two different ways; nothing was done, try again")
    else:
        raise SpecError(f"there must be a {of}passcode: --passcode-file FILE, --passcode-env VARIABLE, or a terminal")
    _check(value, of)
    return Secret(value)


def _typed(prompt: str) -> bytes:
    try:
        return getpass.getpass(prompt).encode("utf-8", "surrogateescape")
    except EOFError:
        raise SpecError("no passcode was typed; nothing was done") from None


def _check(value: bytes, of: str) -> None:
    if not value.strip():
        raise SpecError(f"the {of}passcode is empty; at least {LEAST_BYTES} bytes are needed, better many more")
    if len(value) < LEAST_BYTES:
        raise SpecError(f"the {of}passcode has {len(value)} bytes; at least {LEAST_BYTES} are needed, better many more")
