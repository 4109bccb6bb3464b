"""The one exception that means "the user can mend this": the command line prints its text and no traceback."""


class UserError(ValueError):
    """A wrong param, file or picture. Its text says what is wrong, where, and what would be right."""
