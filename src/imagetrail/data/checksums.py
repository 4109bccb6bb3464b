"""The bytes that an address sent first, so that others are noticed: data/checksums.json."""

from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.base.files import read_json, write_json

CHECKSUMS = Path("data/checksums.json")  # address: sha256 of what it sent first; in git


def compare(
    address: str, digest: str, wanted: str | None, place: str = "data.sha256 in params.yaml"
) -> None:
    """Raises UserError if an address sends other bytes than `wanted`, which stands in `place`."""
    remedy = "write the new one there"
    if not wanted:
        place, remedy = str(CHECKSUMS), "remove its line there"
        wanted = _noted().get(address)
    if wanted and wanted != digest:
        raise UserError(
            f"{address} sends other bytes than {place} says: sha256 {digest}, not {wanted}; "
            f"to accept them, {remedy}"
        )


def _noted() -> dict[str, str]:
    if not CHECKSUMS.exists():
        return {}
    noted: dict[str, str] = read_json(CHECKSUMS, remedy=f"run `git checkout {CHECKSUMS}`")
    return noted


def note(address: str, digest: str) -> None:
    """Notes the checksum of an address that sent pictures, for the next time."""
    write_json(CHECKSUMS, dict(sorted({**_noted(), address: digest}.items())))
