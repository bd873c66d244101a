"""A command's `-c FILE`: found among its words, read from anywhere, parsed."""

import cyclopts
import yaml

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
    """What a file says. Raises CycloptsError if it can't be read."""
    fs, path = storage.filesystem(url)
    try:
        return storage.read_bytes(fs, path).decode()
    except OSError as fault:
        raise cyclopts.CycloptsError(msg=f"can't read {url}: {storage.sentence(fault)}") from fault
    except UnicodeDecodeError as fault:
        raise cyclopts.CycloptsError(msg=f"{url} is not readable YAML: {fault}") from fault


def fields_of(text: str, url: str) -> tuple[cyclopts.config.Dict, ...]:
    """A file's fields, to stand wherever a flag isn't given. Raises CycloptsError if it holds something else."""
    try:
        fields = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise cyclopts.CycloptsError(msg=f"{url} is not readable YAML: {fault}") from fault
    if not isinstance(fields, dict):
        raise cyclopts.CycloptsError(msg=f"{url} must hold a mapping of option names to values")
    return (cyclopts.config.Dict(fields, use_commands_as_keys=False),)
