"""The one exception the user can mend: the command line prints its text and no traceback."""

ANEW = "remove it and run `dvc checkout` or `dvc repro`"  # what a stage makes


class UserError(ValueError):
    """A wrong param, file or picture: its text says what, where, and what would be right."""


def missing(path: object) -> UserError:
    """For a file or folder that another stage makes."""
    return UserError(f"{path} is missing; run `dvc repro`, `dvc checkout` or `dvc pull`")


def damaged(path: object, why: object, *, remedy: str = ANEW) -> UserError:
    """For one that cannot be read; of `why` the first line is shown."""
    reason = str(why).splitlines()[0] if str(why) else type(why).__name__
    return UserError(f"{path} is damaged ({reason}); {remedy}")
