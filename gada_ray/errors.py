"""What the command line turns into one message and exit code 2."""


class UserError(Exception):
    """Something that its user can mend; the message names the thing, the rule, the values seen and what to do.

    Every error that is one is also a ValueError or RuntimeError, for callers of the library.
    """


def first_line(error: Exception) -> str:
    """What an error says, without the lines that follow, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
