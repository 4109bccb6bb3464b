"""How many of what, as a sentence has it."""


def count_of(number: int, noun: str) -> str:
    """1 picture, 2 pictures, 1,000 classes."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}" + ("" if number == 1 else ending)
