"""Words of sentences: how many of what, shares, and names and addresses that may be shown."""

import re
import unicodedata

BREAKING = {"Cc", "Cs", "Zl", "Zp"}  # Unicode: control, half a pair, line and paragraph ends
TURNING = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}  # where text runs


def count_of(number: int, noun: str) -> str:
    """1 picture, 2 pictures, 1,000 classes."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else ending)


def percent(share: float, digits: int = 2) -> str:
    """92.00 %, of 0.92."""
    return f"{100 * float(share):.{digits}f} %"


def without_secrets(text: str) -> str:
    """The text without the user and password, or token, of any address in it."""
    return re.sub(r"://[^/\s@]+@", "://", text)


def printable(text: str) -> str:
    """The text with the codes of what steers a terminal, breaks a line or is not UTF-8."""
    if text.isprintable():
        return text
    return "".join(_code(letter) if breaks(letter) else letter for letter in text)


def breaks(letter: str) -> bool:
    return unicodedata.category(letter) in BREAKING or letter in TURNING


def _code(letter: str) -> str:
    byte = ord(letter) - 0xDC00  # where Python puts a byte that is not UTF-8
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else letter.encode("unicode_escape").decode()
