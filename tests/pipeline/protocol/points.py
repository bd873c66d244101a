"""Every call of a command: broken there, done again, and compared with an undisturbed run."""

import dataclasses
import random
from collections.abc import Iterator
from dataclasses import dataclass

from tests.pipeline.protocol import reader
from tests.pipeline.protocol.commands import Command
from tests.pipeline.protocol.invocation import at
from tests.pipeline.protocol.store import KINDS, Bucket, Crash, Trouble


@dataclass(frozen=True, slots=True)
class Survey:
    """A command that ran undisturbed."""

    command: Command
    before: Bucket
    view: dict[str, tuple[object, ...]]
    """Of the output, afterwards: keys, statuses, sha256."""
    trace: list[str]
    """Its calls."""

    def troubles(self) -> list[Trouble]:
        """Every point."""
        return [Trouble(kind, call) for call in range(1, len(self.trace) + 1) for kind in KINDS]


def survey(command: Command, *, conditions: bool = True) -> Survey:
    """Run a command undisturbed, and note its calls. It must end well by itself."""
    before = Bucket(conditions)
    command.prepare(before)
    bucket = copied(before)
    try:
        process = at(bucket, "undisturbed", command.run)
    except Exception as fault:
        raise AssertionError(f"{command.name}, undisturbed, ended in {fault!r}") from fault
    assert not (wrong := list(command.after(bucket))), f"{command.name}, undisturbed: {wrong}"
    return Survey(command, before, _view(command, bucket), process.trace)


def amiss(known: Survey, trouble: Trouble) -> Iterator[str]:
    """What is wrong after this trouble, and after the same command has then run to its end."""
    command, bucket = known.command, copied(known.before)
    try:
        at(bucket, "troubled", command.run, trouble)
    except Crash:
        assert trouble.kind in ("before", "after")
    except Exception as fault:
        if not type(fault).__module__.startswith("recast."):
            yield f"it ended in {type(fault).__module__}.{type(fault).__name__}, which is no sentence: {fault}"
    else:
        if trouble.kind in ("before", "after"):
            yield "it went on after a crash"
        yield from command.after(bucket)
    yield from _meanwhile(known, bucket)
    try:
        at(bucket, "again", command.run)
    except Exception as fault:
        yield f"run again, it ended in {type(fault).__name__}: {fault}"
        return
    yield from command.after(bucket)
    if (view := _view(command, bucket)) != known.view:
        yield f"the view differs from an undisturbed run's: {set(view.items()) ^ set(known.view.items())}"


def _meanwhile(known: Survey, bucket: Bucket) -> Iterator[str]:
    """What may not be wrong even while a command is unfinished: what was there is there, and what is there is right."""
    command, now = known.command, reader.read(bucket.below("b/out"))
    yield from command.meanwhile(bucket)
    if not command.damages:
        yield from reader.wrong_bytes(now)
        yield from reader.pointless(now)
    lost = set(reader.read(known.before.below("b/out")).current()) - set(now.current()) - command.loses
    yield from (f"{key} had a row, and after the trouble none" for key in lost)


def sample(known: Survey, share: float, dice: random.Random) -> list[Trouble]:
    """Of every kind so many of the points, and at least one."""
    found = []
    for kind in KINDS:
        of_kind = [trouble for trouble in known.troubles() if trouble.kind == kind]
        found += dice.sample(of_kind, max(1, round(share * len(of_kind))))
    return found


def copied(bucket: Bucket) -> Bucket:
    return dataclasses.replace(bucket, blobs=dict(bucket.blobs), gone=set(bucket.gone))


def _view(command: Command, bucket: Bucket) -> dict[str, tuple[object, ...]]:
    """The output's, and what was restored from it. Hidden keys are others with each output's own key."""
    both = {**reader.read(bucket.below("b/out")).view()}
    both |= {f"back/{key}": facts for key, facts in reader.read(bucket.below("b/back")).view().items()}
    return (
        {str(n): facts for n, facts in enumerate(sorted((facts[:2] for facts in both.values()), key=str))}
        if command.hidden
        else both
    )
