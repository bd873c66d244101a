"""What a person typed and `recast` can't take, in one sentence: the option, what it must be, and where to look."""

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cyclopts
import pydantic
from cyclopts import App, Argument, Parameter
from cyclopts.exceptions import CoercionError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError
from pydantic.fields import FieldInfo

from recast.jobs.app import app
from recast.jobs.specs import Spec, flag_name

KINDS = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    **dict.fromkeys(("byte_size", "byte_size_unit"), "must be a size, as 512MiB or 1GB"),
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "finite_number": "must be a finite number",
}
"""What pydantic's kinds of errors ask for."""
WORDS = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "above",
    "less than": "below",
}
"""Pydantic's words for ranges, and ours."""
NUMBERS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}


def refusal(fault: BaseException, command: Sequence[str]) -> str | None:
    """Why a command line is refused; None where the fault is of another kind."""
    chain: Sequence[str] = getattr(fault, "command_chain", None) or ()
    name = " ".join(["recast", *chain])
    if isinstance(fault, cyclopts.CycloptsError):
        said = _mistyped(fault, name) or _invalid(fault.__cause__, name) or _parsed(fault, name)
        return f"{said} See `{name} --help`" if said.endswith("?") else f"{said}; see `{name} --help`"
    if isinstance(fault, pydantic.ValidationError):
        return _invalid(fault, " ".join(["recast", *command[:1]]))
    return None


def _parsed(fault: cyclopts.CycloptsError, name: str) -> str:
    """What the parser itself complains of."""
    if isinstance(fault, MissingArgumentError) and fault.argument is not None:
        return _missing(fault, name)
    if isinstance(fault, UnusedCliTokensError):
        tokens = fault.unused_tokens or []
        return f"{name} does not take {_listed(tokens)}; it has all its arguments"
    if isinstance(fault, UnknownOptionError) and fault.token.source != "cli":
        return _unknown_field(fault, name)
    if isinstance(fault, CoercionError) and (said := _unread(fault)):
        return said
    text = re.sub(r"\.? Available commands: .*", "", str(fault).strip().rstrip("."), flags=re.DOTALL)
    return re.sub(r"(^|\. )([A-Z])(?=[a-z])", lambda m: ("; " if m[1] else "") + m[2].lower(), text)


def _missing(fault: MissingArgumentError, name: str) -> str:
    argument = fault.argument
    assert argument is not None
    given = fault.keyword or next((token.keyword for token in argument.tokens if token.keyword), None)
    if given:
        return f"{given} needs a value{_meaning(argument.parameter.help)}"
    known, words = _known(fault), _options(fault)
    missing = [a for a in known if a.name == argument.name]
    if argument.index is None and not app.config:  # a -c file may have others
        missing += [a for a in known if a.required and a.index is None and words.isdisjoint(a.names)]
    return f"{name} needs {', and '.join(dict.fromkeys(map(_named, missing)))}"


def _mistyped(fault: cyclopts.CycloptsError, name: str) -> str | None:
    """Where something is missing or too much: an option that there is not, and the one that was meant."""
    cause = fault.__cause__
    lacks = isinstance(cause, pydantic.ValidationError) and any(e["type"] == "missing" for e in cause.errors())
    if not (lacks or isinstance(fault, (MissingArgumentError, UnknownOptionError))):
        return None
    options = {option for known in _known(fault) for option in known.names}
    for word in sorted(_options(fault) - options):
        if near := difflib.get_close_matches(word, options, n=1):
            return f"{name} has no option {word}; did you mean {near[0]}?"
    return None


def _options(fault: cyclopts.CycloptsError) -> set[str]:
    """The options that were typed, without their values."""
    return {token.partition("=")[0] for token in fault.root_input_tokens or () if token.startswith("--")}


def _known(fault: cyclopts.CycloptsError) -> list[Argument]:
    """All that the command takes, with its help."""
    command: App = app
    for word in fault.command_chain or ():
        command = command[word]
    return [a for a in command.assemble_argument_collection(parse_docstring=True) if a.show]


def _named(argument: Argument) -> str:
    """A missing argument, and what it is."""
    option = argument.index is None
    name = argument.name if option else argument.name.lstrip("-").replace("-", " ").upper()
    return f"{name}{_meaning(argument.parameter.help)}"


def _unread(fault: CoercionError) -> str:
    """A value that is not of its option's kind."""
    text = str(fault)
    found = re.match(r'Invalid value for (.+?)(?: from dict)?: unable to convert "(.*)" into (\w+)', text, re.DOTALL)
    if not found:
        return ""
    option, value, kind = found.groups()
    return f"{_option_of(option)} must be {NUMBERS.get(kind, kind)}, and it is {value!r}"


def _unknown_field(fault: UnknownOptionError, name: str) -> str:
    """A key of the -c file that names no option."""
    path = [part for part in re.split(r"[\[\]]+", fault.token.keyword or fault.token.value) if part]
    guess = re.search(r"Did you mean -*([\w-]+)\?", str(fault))
    said = f"the -c file has {'.'.join(path)}, and {name} has no such option"
    return f"{said}; did you mean {guess[1].replace('-', '_')}?" if guess else said


def _option_of(name: str) -> str:
    """`--option`, however the parser calls it."""
    bare = name.strip("[]")
    return name if name.startswith("-") or bare == name else f"--{bare.replace('_', '-')}"


def _invalid(fault: BaseException | None, name: str) -> str | None:
    """What a spec's validation found: all missing options, or the first that is out of bounds."""
    if not isinstance(fault, pydantic.ValidationError):
        return None
    found, spec = fault.errors(), _spec(fault.title)
    missing = [_option(spec, error["loc"]) for error in found if error["type"] == "missing"]
    if missing:
        return f"{name} needs {', and '.join(f'{option.flag}{_meaning(option.help)}' for option in missing)}"
    first, option = found[0], _option(spec, found[0]["loc"])
    if first["type"] == "value_error" and option.flag == "*":
        return first["msg"].removeprefix("Value error, ")
    return f"{option.flag} {_wanted(first, option.help)}, and it is {_shown(first.get('input'))}{_nearest(first)}"


class Option(NamedTuple):
    """What a person knows of an option."""

    flag: str
    """Its name; `*` for settings whose fields are options, and for a command's options as a whole."""
    help: str | None


def _wanted(error: Any, meaning: str | None) -> str:
    if said := KINDS.get(error["type"]):
        return said
    if error["type"] == "string_pattern_mismatch":
        return f"can't be understood{_meaning(meaning)}"
    text = re.sub(r"^(Input should be|Value error,|Assertion failed,)\s*", "", error["msg"])
    for pydantics, ours in WORDS.items():
        text = text.replace(pydantics, ours)
    text = re.sub(r"'([\w.-]+)'", r"\1", text)
    return f"must be {text}" if text != error["msg"] and error["msg"].startswith("Input") else f"is refused: {text}"


def _shown(value: object) -> str:
    number = isinstance(value, str) and re.fullmatch(r"[-+]?[\d.]+", value)
    return str(value) if number else repr(value)[:200]


def _nearest(error: Any) -> str:
    """A question after the one of the choices that was perhaps meant."""
    choices = re.findall(r"'([^']+)'", error.get("ctx", {}).get("expected", ""))
    near = difflib.get_close_matches(str(error.get("input")), choices, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _spec(title: str) -> type[pydantic.BaseModel] | None:
    """The spec that pydantic names in its error, perhaps as `nullable[function-after[…, …]]`."""
    names = set(re.findall(r"\w+", title))
    return next((spec for spec in _below(Spec) if spec.__name__ in names), None)


def _below(kind: type[pydantic.BaseModel]) -> Iterator[type[pydantic.BaseModel]]:
    for spec in kind.__subclasses__():
        yield spec
        yield from _below(spec)


def _option(spec: Any, location: Sequence[int | str]) -> Option:
    """The option at a place in a spec, as pydantic's errors tell of it: through settings within settings."""
    option = Option("*", None)
    for part in location:
        if (info := _fields(spec).get(str(part))) is None:
            break
        option, spec = Option(_flag(info, str(part)), info.description), info.annotation
    return option


def _fields(kind: Any) -> Mapping[str, FieldInfo]:
    """The fields of a spec, or of a dataclass that one holds."""
    return getattr(kind, "__pydantic_fields__", {})


def _flag(info: FieldInfo, field: str) -> str:
    """What a field is called on the command line."""
    if _fields(info.annotation):
        return "*"
    for extra in info.metadata:
        if isinstance(extra, Parameter) and extra.name:
            return extra.name if isinstance(extra.name, str) else next(iter(extra.name))
    return f"--{flag_name(field)}"


def _meaning(text: str | None) -> str:
    """The first sentence of an option's help, to stand behind its name."""
    if not text:
        return ""
    first = re.split(r"[;.](?:\s|$)", inspect.cleandoc(text).replace("\n", " "), maxsplit=1)[0]
    return f" ({first[:1].lower() + first[1:]})"


def _listed(items: Sequence[str]) -> str:
    quoted = [repr(item) for item in items]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)
