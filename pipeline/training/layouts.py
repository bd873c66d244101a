"""What training images are taken for: pairs, two domains, classes or single ones; what isn't clear is refused."""

import dataclasses
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recast.pipeline.reasons import plural, some
from recast.pipeline.sources import parquet
from recast.pipeline.sources.endings import without_ending
from recast.pipeline.sources.inputs import Input
from recast.pipeline.training.settings import TrainingError

TRAINING = frozenset({"train", "training"})
HELD_OUT = frozenset({"test", "testing", "val", "valid", "validation", "dev", "eval"})
SIDES = {"a": 0, "b": 1, "input": 0, "inputs": 0, "target": 1, "targets": 1}
"""Names of the two folders of pairs or domains, without regard to capitals."""
SIDE = re.compile(
    rf"(?:(?P<split>{'|'.join(sorted(TRAINING | HELD_OUT, key=len, reverse=True))})[ _-]?)?(?P<side>{'|'.join(SIDES)})"
)
MARKED = re.compile(r"(?P<name>.*)[ _.-](?P<side>a|b|input|target|real|label)", re.IGNORECASE)
"""Files of one folder that their names make pairs of."""
ACCEPTED = (
    "folders A and B (or a and b, trainA and trainB, train_A and train_B, input and target), with images of the same "
    "names, or there within train, val and test"
)
NAMED = 4
"""Names that a sentence quotes."""
ALIKE = 0.9
"""Share of the names of two folders that are the same, from which on they look like the two sides of pairs."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """Where the images of one example lie: one file, or the two files of a pair."""

    key: str
    inputs: tuple[Input, ...]
    label: str = ""
    """Its class, where examples have classes."""
    regions: np.ndarray | None = field(default=None, compare=False)
    """What annotations say of its image, as `RawExample.regions`; None without any."""
    masks: tuple[str, ...] = ()
    """The mask of each of its things in compressed RLE, NO_MASK where only the box is known; none for a recipe that
    takes no masks."""
    drawn_for: tuple[int, int] | None = None
    """Height and width that its image must have, where annotations of things say them; (0, 0) where they don't. None:
    its annotations are not of things."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Examples, and what the images were taken for."""

    examples: list[Example]
    said: tuple[str, ...] = ()
    """Sentences."""


@dataclass
class _Sides:
    """The images of folders that are called as the two sides of something are."""

    names: tuple[dict[str, list[Input]], dict[str, list[Input]]] = field(default_factory=lambda: ({}, {}))
    """By their path without the side's folder."""
    folders: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    held_out: int = 0
    loose: list[Input] = field(default_factory=list)


def laid_out(inputs: Sequence[Input], url: str, recipe_images: int, *, paired: bool, labelled: bool) -> Layout:
    """The examples that the images of a place make.

    Raises:
        TrainingError: the images don't lie in one of the ways that are known, or not clearly so.
    """
    inputs, said = _train_alone(inputs)
    if labelled:
        examples = _by_class(inputs, url)
        said += (f"{plural(len(examples), 'image')} in classes: {some(classes(examples), NAMED)}",)
        return Layout(examples=examples, said=said)
    if recipe_images == 1:
        return Layout(examples=_single(inputs), said=(*said, plural(len(inputs), "image")))
    sides = _sides(inputs, url)
    if sides is None and not paired:
        raise TrainingError(f"unpaired training wants images of two domains in {ACCEPTED.partition(',')[0]} of {url}")
    if sides is None:
        examples, taken = _in_one(inputs, url)
        return Layout(examples=examples, said=(*said, taken))
    examples = _partners(sides) if paired else _domains(sides)
    return Layout(examples=examples, said=(*said, *_said_of(sides, len(examples), paired=paired)))


def targets(inputs: Sequence[Input], url: str) -> Layout:
    """The B sides of pairs whose A sides come from elsewhere: what lies in the folder of that name, or every image.

    Raises:
        TrainingError: it isn't clear which folder is meant.
    """
    inputs, said = _train_alone(inputs)
    sides = _sides(inputs, url)
    if sides is None:
        return Layout(examples=_single(inputs), said=said)
    examples = [Example(key=name, inputs=(item,)) for name, items in sides.names[1].items() for item in items]
    return Layout(examples=examples, said=(*said, *_left_for_tests(sides.held_out)))


def classes(examples: Sequence[Example]) -> tuple[str, ...]:
    """The names of the examples' classes, in the order of their labels."""
    return tuple(sorted({example.label for example in examples}))


def _single(inputs: Sequence[Input]) -> list[Example]:
    return [Example(key=item.key, inputs=(item,)) for item in inputs]


def _train_alone(inputs: Sequence[Input]) -> tuple[list[Input], tuple[str, ...]]:
    """Without what lies in a folder `test` or `val` that has a folder `train` beside it."""
    splits: dict[str, set[str]] = defaultdict(set)
    for item in inputs:
        for above, name in _folders(item.key):
            splits[above].add(name.lower())
    split = {above for above, names in splits.items() if names & TRAINING and names & HELD_OUT}
    held_out = [any(a in split and n.lower() in HELD_OUT for a, n in _folders(item.key)) for item in inputs]
    kept = [item for item, out in zip(inputs, held_out, strict=True) if not out]
    return kept, _left_for_tests(sum(held_out))


def _left_for_tests(count: int) -> tuple[str, ...]:
    return (f"train alone is trained on; {plural(count, 'image')} of test and val left out",) if count else ()


def _folders(key: str) -> list[tuple[str, str]]:
    """The folders that a key lies in: what each lies in itself, and its name."""
    parts = key.split("/")[:-1]
    return [("/".join(parts[:n]), part) for n, part in enumerate(parts)]


def _by_class(inputs: Sequence[Input], url: str) -> list[Example]:
    """Each folder is a class; below `train`, if everything lies there."""
    tops = {item.key.split("/")[0].lower() for item in inputs}
    depth = int(len(tops) == 1 and tops <= TRAINING)
    loose = next((item.key for item in inputs if item.key.count("/") <= depth), None)
    if loose is not None:
        raise TrainingError(f"{loose} is in no folder of {url}; training with classes needs one folder per class")
    return [Example(key=item.key, inputs=(item,), label=item.key.split("/")[depth]) for item in inputs]


def _sides(inputs: Sequence[Input], url: str) -> _Sides | None:
    """The images by side; None where no folder is called as a side is."""
    sides = _Sides()
    found: dict[tuple[str, ...], list[set[str]]] = defaultdict(lambda: [set(), set()])
    for item in inputs:
        parts = item.key.split("/")
        named = ((n, SIDE.fullmatch(part.lower())) for n, part in enumerate(parts[:-1]))
        at, match = next(((n, m) for n, m in named if m), (0, None))
        if match is None:
            sides.loose.append(item)
        elif match["split"] in HELD_OUT:
            sides.held_out += 1
        else:
            side = SIDES[match["side"]]
            found[tuple(parts[:at])][side].add(parts[at])
            sides.folders[side].add("/".join(parts[: at + 1]))
            name = unicodedata.normalize("NFC", "/".join([*parts[:at], *parts[at + 1 :]]))
            sides.names[side].setdefault(without_ending(name), []).append(item)
    if not found and not sides.held_out:
        return None
    for above, (ours, theirs) in found.items():
        if len(ours) != 1 or len(theirs) != 1 or not _belong(*ours, *theirs):
            names = some([*sorted(ours), *sorted(theirs)], NAMED)
            raise TrainingError(
                f"it isn't clear what belongs to what in {'/'.join((url.rstrip('/'), *above))}, which has images in "
                f"{names}; there must be two folders: {ACCEPTED}"
            )
    if not found:
        raise TrainingError(f"{url} has images for tests alone, and none to train on; there must be {ACCEPTED}")
    return sides


def _belong(one: str, other: str) -> bool:
    """Whether two folders are the two sides of one thing: `trainA` and `trainB`, but not `A` and `trainB`."""
    a, b = SIDE.fullmatch(one.lower()), SIDE.fullmatch(other.lower())
    assert a, "it was matched before"
    assert b, "it was matched before"
    kinds = [len(match["side"]) > 1 for match in (a, b)]
    return a["split"] == b["split"] and kinds[0] == kinds[1]


def _partners(sides: _Sides) -> list[Example]:
    """Images of one name; where several of a folder differ in nothing but their ending, of the very same name."""
    ours, theirs = sides.names
    pairs: list[Example] = []
    alone: list[str] = []
    for stem in sorted(ours.keys() | theirs.keys()):
        left, right = ours.get(stem, []), theirs.get(stem, [])
        if len(left) == len(right) == 1:
            pairs.append(Example(key=stem, inputs=(left[0], right[0])))
            continue
        exactly = [{item.key.rpartition("/")[2]: item for item in items} for items in (left, right)]
        for name in sorted(exactly[0].keys() | exactly[1].keys()):
            if name in exactly[0] and name in exactly[1]:
                key = f"{stem.rpartition('/')[0]}/{name}".lstrip("/")
                pairs.append(Example(key=key, inputs=(exactly[0][name], exactly[1][name])))
            else:
                alone.append((exactly[0].get(name) or exactly[1][name]).key)
    if alone:
        more = f" (so are {len(alone) - 1:,} more)" if len(alone) > 1 else ""
        both = " and ".join(some(sorted(folders), NAMED) for folders in sides.folders)
        raise TrainingError(f"{alone[0]} is in only one of the folders {both}{more}; each image needs a partner")
    return pairs


def _domains(sides: _Sides) -> list[Example]:
    """As many examples as the larger domain has images; the other's come round again."""
    a, b = ([item for items in names.values() for item in items] for names in sides.names)
    both = ((a[n % len(a)], b[n % len(b)]) for n in range(max(len(a), len(b))))
    return [Example(key=f"{x.key} and {y.key}", inputs=(x, y)) for x, y in both]


def _said_of(sides: _Sides, count: int, *, paired: bool) -> tuple[str, ...]:
    a, b = (some([f"{name}/" for name in sorted(folders)], NAMED) for folders in sides.folders)
    numbers = [sum(map(len, names.values())) for names in sides.names]
    taken = f"{plural(count, 'pair')}: A from {a}, B from {b}"
    if not paired:
        taken = f"two domains: {plural(numbers[0], 'image')} of A from {a}, {numbers[1]:,} of B from {b}"
    beside = f"left out {plural(len(sides.loose), 'image')} beside these folders: " if sides.loose else ""
    said = (f"{beside}{some([item.key for item in sides.loose], NAMED)}",) if beside else ()
    return (taken, *_left_for_tests(sides.held_out), *said)


def _in_one(inputs: Sequence[Input], url: str) -> tuple[list[Example], str]:
    """Pairs that lie in one place each: two columns of a row, or side by side in one image."""
    tables = [item for item in inputs if item.layout == "parquet"]
    if tables and len(tables) < len(inputs):
        other = next(item.key for item in inputs if item.layout != "parquet")
        raise TrainingError(
            f"{url} has pairs in Parquet files and images beside them ({other} among them); train on one or the other"
        )
    if tables:
        files = {item.container: item for item in inputs}
        columns = {container: parquet.pair_columns(item) for container, item in files.items()}
        made = [
            Example(key=item.key, inputs=tuple(dataclasses.replace(item, column=c) for c in columns[item.container]))
            for item in inputs
        ]
        named = {names for names in columns.values() if len(names) == 2}
        if all(len(example.inputs) == 2 for example in made):
            return made, f"{plural(len(made), 'pair')}: {'; '.join(f'A from {a}, B from {b}' for a, b in named)}"
        return made, f"{plural(len(made), 'row')}, each taken for A|B side by side where it has one image"
    _refuse_likely_sides(inputs, url)
    return _single(inputs), f"{plural(len(inputs), 'file')}, each taken for A|B side by side"


def _refuse_likely_sides(inputs: Sequence[Input], url: str) -> None:
    """Two folders with the same names, and names that come in twos, are no images side by side."""
    folders: dict[str, set[str]] = defaultdict(set)
    marked: dict[str, set[str]] = defaultdict(set)
    for item in inputs:
        stem = without_ending(item.key)
        folder, _, name = stem.rpartition("/")
        folders[folder].add(name)
        if match := MARKED.fullmatch(name):
            marked[f"{folder}/{match['name']}"].add(match["side"].lower())
    twos = sum(len(marks) for marks in marked.values() if len(marks) == 2)
    if twos * 2 >= len(inputs):
        first = next(name for name, marks in marked.items() if len(marks) == 2).lstrip("/")
        raise TrainingError(
            f"images of {url} come in twos by their names (those of {first}); put the two sides into {ACCEPTED}"
        )
    if len(folders) == 2:
        one, other = folders.values()
        if len(one & other) >= ALIKE * max(len(one), len(other)):
            names = " and ".join(name or url for name in folders)
            raise TrainingError(f"{names} have images of the same names: if they are pairs, put them into {ACCEPTED}")
