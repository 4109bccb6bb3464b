"""What it is that makes one model better than another."""

from enum import StrEnum


class Criterion(StrEnum):
    """A metric; macro recall, or balanced accuracy, is the mean over classes of their recall."""

    TOP1 = "top1"
    MACRO_RECALL = "macro_recall"

    @property
    def words(self) -> str:
        """What reports call it."""
        return {"top1": "top-1", "macro_recall": "macro recall"}[self.value]
