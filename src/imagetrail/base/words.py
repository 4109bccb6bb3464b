"""Words of sentences: how many of what, and addresses that may be shown."""

import re


def count_of(number: int, noun: str) -> str:
    """1 picture, 2 pictures, 1,000 classes."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else ending)


def without_secrets(text: str) -> str:
    """The text without the user and password, or token, of any address in it."""
    return re.sub(r"://[^/\s@]+@", "://…@", text)
