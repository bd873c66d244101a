"""`recast --install-completion`: what Tab completes in a shell."""

from typing import Literal

from recast.jobs.app import app
from recast.jobs.exit_status import DONE
from recast.jobs.specs import SpecError


def install_completion(*, shell: Literal["bash", "zsh", "fish"] | None = None) -> int:
    """Let Tab complete commands and options in your shell, from the next one that you open.

    Example: `recast --install-completion --shell bash`

    Parameters
    ----------
    shell
        The shell; by default the one that this command is typed in.
    """
    from cyclopts.completion.detect import ShellDetectionError

    try:
        where = app.install_completion(shell=shell)
    except ShellDetectionError as fault:
        raise SpecError("can't tell which shell this is; name it with --shell bash, zsh or fish") from fault
    print(where)
    return DONE
