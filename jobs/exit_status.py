"""The exit statuses of `recast`."""

DONE = 0
FAILED = 1
"""The job failed."""
BAD_USAGE = 2
"""A command or a spec that Recast does not take."""
TOO_MANY_FAILED = 3
"""Done, but more inputs failed than were allowed to."""
INTERRUPTED = 130
CUT_OFF = 141
"""Whoever read the results has gone; what a shell shows for a program that SIGPIPE ended."""
TERMINATED = 143
