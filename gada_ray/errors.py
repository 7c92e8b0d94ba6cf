"""What the command line turns into one message and exit code 2."""


class UserError(Exception):
    """Something that its user can mend; the message names the thing, the rule, the values seen and what to do.

    Every error that is one is also a ValueError or RuntimeError, for callers of the library.
    """
