"""What the command line turns into one message and exit code 2."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something that its user can mend; the message names the thing, the rule, the values seen and what to do.

    Every error that is one is also a ValueError or RuntimeError, for callers of the library.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message on an unknown name: the most similar one that is known, if any."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def first_line(error: Exception) -> str:
    """What an error says, without the lines that follow, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
