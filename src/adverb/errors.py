"""The one exception that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: the message says what is wrong, where, and what to do.

    The command line prints the message in red and exits with status 2, without a traceback.
    """
