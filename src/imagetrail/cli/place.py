"""Where a project may lie. Its path becomes part of the addresses of MLflow's database and files.

In an address `?` and `#` end a path, and `%` begins a character's number.
"""

from pathlib import Path

from imagetrail.base.errors import UserError

FORBIDDEN = "#?%"


def refuse_place(root: Path = Path()) -> None:
    """Raises UserError if MLflow would keep its runs in another folder than this one."""
    place = str(root.resolve())
    if found := next((sign for sign in place if sign in FORBIDDEN or not sign.isprintable()), None):
        raise UserError(
            f"{place!r} has {found!r} in it, and MLflow would keep its runs elsewhere; "
            f"move the project to a folder without {' '.join(FORBIDDEN)}"
        )
