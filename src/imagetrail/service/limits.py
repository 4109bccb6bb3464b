"""What one client may take, so that all the others are still answered."""

from dataclasses import dataclass

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What goes beyond one of these is refused, and costs next to nothing."""

    megabytes: int = 20  # of one request
    pictures: int = 64  # in one request
    seconds: float = 10  # from a connection's or a request's first byte to the end of its answer
    waiting: int = 128  # requests that are whole and not answered yet
    held: int = 256  # megabytes of all requests together, whole or not

    @property
    def request_bytes(self) -> int:
        return self.megabytes * MEGABYTE

    @property
    def held_bytes(self) -> int:
        return max(self.held, self.megabytes) * MEGABYTE
