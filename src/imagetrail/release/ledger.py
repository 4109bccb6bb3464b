"""The champion's history, `champion/ledger.jsonl`: a line a promotion or rollback, append-only.

Its last line says which model is the champion, whatever a disk or a server may hold.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.base.params import Section, check, load
from imagetrail.base.paths import CHAMPION_POINTER, LEDGER, SIGNERS
from imagetrail.release import git_dvc, signing


class Entry(Section):
    """One line."""

    number: int  # 1, 2, …
    action: Literal["promote", "rollback"]
    when: str  # UTC, ISO 8601, to the second
    who: str
    commit: str  # that was checked out; empty outside git
    model: str  # sha256 of the ONNX file
    data: str  # DVC's hash of what it was trained on
    decision: str  # sha256 of the gate's decision.json
    champion: dict[str, Any]  # the `outs` entry of champion/model.dvc
    reason: str | None  # why, where it was forced
    reading: int | None = None  # of a promotion: it was the so many-th that its test images judged
    seal: str = ""  # sha256 of all this and of the seal before, so that an edit is noticed
    signature: str = ""  # of the seal, by an SSH key, where champion/allowed_signers asks for it


def read(root: Path = Path()) -> list[Entry]:
    """All lines, oldest first; none without a champion. Raises UserError if the file was edited."""
    entries: list[Entry] = []
    before = ""
    for number, line in enumerate(_lines(root), 1):
        where = f"{LEDGER}: line {number}"
        try:
            value = json.loads(line)
        except (RecursionError, ValueError):
            raise _edited(f"{where} is not JSON") from None
        try:
            entry = check(Entry, value, where)
        except UserError as fault:
            raise _edited(str(fault).splitlines()[0]) from None
        if entry.number != number:
            raise _edited(f"{where} has the number {entry.number}")
        if entry.seal != _seal(entry, before):
            raise _edited(f"{where} is not what imagetrail wrote there")
        entries.append(entry)
        before = entry.seal
    return entries


def append(root: Path, **facts: Any) -> Entry:
    """Adds a line with these facts, who and when, and returns it."""
    history = read(root)
    entry = Entry(
        number=len(history) + 1,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        who=git_dvc.user(root),
        commit=git_dvc.head(root),
        **facts,
    )
    seal = _seal(entry, history[-1].seal if history else "")
    marks = {"seal": seal, "signature": signing.sign(root, seal, entry.who, entry.when)}
    sealed = entry.model_copy(update={name: mark for name, mark in marks.items() if mark})
    with replacing(root / LEDGER) as temporary:
        lines = [*_lines(root), json.dumps(sealed.model_dump(exclude_unset=True)).encode()]
        temporary.write_bytes(b"".join(line + b"\n" for line in lines))
    return sealed


def doubts(root: Path, history: Sequence[Entry]) -> str:
    """What speaks against the signatures of these lines; empty: nothing, or none is asked for.

    A line that is signed vouches for those before it, so the last one must be.
    """
    signed = [entry for entry in history if entry.signature]
    if signed and not signing.asked(root):
        return f"line {signed[-1].number} is signed, and {SIGNERS} is missing; {_back(SIGNERS)}"
    for entry in signed:
        doubt = signing.doubts(root, entry.seal, entry.signature, entry.who, entry.when)
        if doubt:
            return f"the signature of line {entry.number} {doubt}; {_back(LEDGER)}"
    if history and signing.asked(root) and not history[-1].signature:
        number = history[-1].number
        return (
            f"line {number} is not signed, as {SIGNERS} asks; look at who added it, then "
            f"`imagetrail rollback {number}` vouches for it, or `git checkout -- {LEDGER}` "
            "brings back an earlier one"
        )
    return ""


def refuse_doubts(root: Path) -> None:
    """Raises UserError with what speaks against the ledger's signatures."""
    if doubt := doubts(root, read(root)):
        raise UserError(f"{LEDGER}: {doubt}")


def tracked(root: Path) -> dict[str, Any] | None:
    """The one entry in `outs` of champion/model.dvc; None without that file.

    Raises UserError if there are more or fewer.
    """
    if not (root / CHAMPION_POINTER).exists():
        return None
    entries = load(list[dict[str, Any]], "outs", root / CHAMPION_POINTER)
    if len(entries) != 1:
        raise UserError(f"{CHAMPION_POINTER}: expected one entry in `outs`, not {len(entries)}")
    return entries[0]


def _lines(root: Path) -> list[bytes]:
    file = root / LEDGER
    return file.read_bytes().removesuffix(b"\n").split(b"\n") if file.exists() else []


def _seal(entry: Entry, before: str) -> str:
    """Over what the line says: one that was written before a field was there says nothing of it."""
    facts = json.dumps(entry.model_dump(exclude={"seal", "signature"}, exclude_unset=True))
    return hashlib.sha256((before + facts).encode()).hexdigest()


def _edited(what: str) -> UserError:
    return UserError(f"{what}: the ledger was edited; {_back(LEDGER)}")


def _back(path: Path) -> str:
    return f"bring it back with `git checkout -- {path}`"
