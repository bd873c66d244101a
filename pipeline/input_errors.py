"""What can be wrong with one image: a stable kind for programs and a sentence for people."""

import contextlib
from collections.abc import Iterator
from typing import ClassVar


class InputError(Exception):
    """An image that can't become a result. Its row says `kind: sentence`."""

    exit_status = 1
    status: ClassVar[str] = "failed"
    """The status of its row."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(f"{kind}: {sentence}")
        self.kind = kind
        self.sentence = sentence

    def __reduce__(self) -> tuple[type["InputError"], tuple[str, str]]:
        return type(self), (self.kind, self.sentence)


class HeldError(InputError):
    """An image that a policy keeps from being published.

    Its sentence tells of pixels, boxes, scores and limits, and never quotes: it stands in indexes that hide names.
    """

    status = "held"


@contextlib.contextmanager
def raised_by_network() -> Iterator[None]:
    """What the block, a call of a network or a detector of somebody else's, raises is about its input, and becomes an
    InputError; but for what a machine raises that can't go on. Around such calls alone: elsewhere an exception that
    nobody foresaw is our own mistake.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as fault:
        if type(fault).__name__ == "AcceleratorError":  # torch's, which is not imported here
            raise
        raise InputError("generator", str(fault).partition("\n")[0] or type(fault).__name__) from fault
