"""The application that the commands of `recast` join, and what it makes of the words of a command."""

from collections.abc import Sequence

from cyclopts import App, Argument, ArgumentCollection, Parameter
from pydantic import ByteSize

from recast import __version__
from recast.jobs.config_files import fields_of, text_of, without_config
from recast.jobs.headings import PLACEHOLDERS, heading, place

MILLION = 10**6


def shown_default(value: object) -> str | None:
    """A default as a person writes it; None where there is nothing to show."""
    if value is None or value is False or value == "" or value == ():
        return None
    if value is True:
        return "on"
    if isinstance(value, ByteSize):
        return value.human_readable(separator=" ").replace(".0 ", " ")
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    if isinstance(value, int) and value >= MILLION and value % MILLION == 0:
        return f"{value // MILLION} million"
    return f"{value:g}" if isinstance(value, float) else str(value)


class Commands(App):
    """Commands whose help has headings, and texts that flow."""

    def assemble_argument_collection(
        self, *, default_parameter: Parameter | None = None, parse_docstring: bool = False
    ) -> ArgumentCollection:
        """The options of this command, each under its heading; a docstring's line breaks are not theirs."""
        found = super().assemble_argument_collection(
            default_parameter=default_parameter, parse_docstring=parse_docstring
        )
        for argument in found:
            argument.parameter = Parameter.combine(argument.parameter, _presented(argument))
        if parse_docstring:  # for people, and not for the parser
            found.sort(key=place)
        return found


def _presented(argument: Argument) -> Parameter:
    """How help shows an option or argument."""
    text, named = argument.parameter.help, PLACEHOLDERS.get(argument.field_info.name)
    return Parameter(
        group=heading(argument),
        help=" ".join(text.split()) if text else None,
        metavar=argument.parameter.metavar if argument.get_choices() else named,
    )


app = Commands(
    name="recast",
    help="Train image-to-image GANs on a Ray cluster and run them over whole image archives.",
    help_format="plaintext",
    version=__version__,
    version_flags=["--version"],
    default_parameter=Parameter(negative=(), show_default=shown_default),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def understood(command: Sequence[str]) -> tuple[list[str], str]:
    """A command that is to run elsewhere or later, checked now: its words, and the text of its -c file ("": none).

    Raises:
        CycloptsError: `recast` itself wouldn't take it.
    """
    words, path = without_config(list(command))
    text = text_of(path) if path else ""
    app.config = fields_of(text, path) if path else ()
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    finally:
        app.config = ()
    return words, text
