"""Passcodes: from a file, an environment variable or a prompt, and never from an argument, which everybody can read."""

import getpass
import os
import sys

from recast.jobs.specs import SpecError, place
from recast.pipeline import storage
from recast.pipeline.deidentify.secrets.seal import Secret

LEAST_BYTES = 8
"""A shorter one is found by trying."""


def passcode(file: str | None, variable: str | None, *, of: str = "") -> Secret:
    """The passcode that a file holds (its first line), or an environment variable, or that is typed at a terminal.

    Raises:
        SpecError: there is none, or it is too short.
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
        value = getpass.getpass(f"{of}passcode: ").encode()
    else:
        raise SpecError(f"there must be a {of}passcode: --passcode-file FILE, --passcode-env VARIABLE, or a terminal")
    if len(value) < LEAST_BYTES:
        raise SpecError(f"the {of}passcode has {len(value)} bytes; at least {LEAST_BYTES} are needed, better many more")
    return Secret(value)
