"""A command's `-c FILE`: found among its words, read from anywhere, parsed."""

import cyclopts
import yaml

from recast.jobs.specs import SpecError
from recast.pipeline import storage


def without_config(arguments: list[str]) -> tuple[list[str], str]:
    """A command without its -c, and that file's place; "" where there is none."""
    for i, argument in enumerate(arguments):
        if argument in ("-c", "--config"):
            if i + 1 == len(arguments):
                raise cyclopts.CycloptsError(msg=f"{argument} needs a file")
            return arguments[:i] + arguments[i + 2 :], arguments[i + 1]
        if argument.startswith("--config="):
            return arguments[:i] + arguments[i + 1 :], argument.partition("=")[2]
    return arguments, ""


def text_of(url: str) -> str:
    """What a file says. Raises SpecError if it can't be read."""
    fs, path = storage.filesystem(url)
    try:
        return storage.read_bytes(fs, path).decode()
    except OSError as fault:
        raise SpecError(f"can't read {url}: {storage.sentence(fault)}") from fault
    except UnicodeDecodeError as fault:
        raise SpecError(f"{url} is not readable YAML: it is no text in UTF-8") from fault


def fields_of(text: str, url: str) -> tuple[cyclopts.config.Dict, ...]:
    """A file's fields, to stand wherever a flag isn't given. Raises SpecError if it holds something else."""
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise SpecError(f"{url} is not readable YAML: {_problem(fault)}") from fault
    if not isinstance(fields, dict):
        raise SpecError(f"{url} must hold a mapping of option names to values")
    return (cyclopts.config.Dict(fields, use_commands_as_keys=False),)


def _problem(fault: yaml.YAMLError) -> str:
    """A parser's complaint in a line, with the place."""
    if not isinstance(fault, yaml.MarkedYAMLError):
        return " ".join(str(fault).split())
    mark = fault.problem_mark or fault.context_mark
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{fault.problem or fault.context}{where}"
