"""The application that the commands of `recast` join, and what it makes of the words of a command."""

from collections.abc import Sequence

from cyclopts import App, Parameter

from recast import __version__
from recast.jobs.config_files import fields_of, text_of, without_config

app = App(
    name="recast",
    help="Train image-to-image GANs on a Ray cluster and run them over whole image archives.",
    help_format="plaintext",
    version=__version__,
    version_flags=["--version"],
    default_parameter=Parameter(negative=()),
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
