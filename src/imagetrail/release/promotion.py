"""The champion changes: its folder, then DVC, then the ledger.

Killed anywhere, the same command completes it. Until the ledger has its line, the
champion is the one of the line before. MLflow follows the ledger (`tracking.publish`).
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from imagetrail.base import hashing, paths, pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.files import read_json, remove, replacing, write_json
from imagetrail.base.paths import CHAMPION_FOLDER, CHAMPION_MODEL, CHAMPION_POINTER, LEDGER
from imagetrail.release import git_dvc, ledger, signing, verification
from imagetrail.release.ledger import Entry

GATE, EXPORT = paths.ARTIFACTS / "gate", paths.ARTIFACTS / "export"
COPIES = (
    paths.ARTIFACTS / "evaluate" / "metrics.json",
    GATE / "decision.json",
    GATE / "disagreements.png",
    GATE / "looked.png",
    EXPORT / "reference.npz",
    EXPORT / "trained_on.parquet",
)
MAPS = paths.ARTIFACTS / "explain" / "scores.json"  # whether they are true to it


@dataclass(frozen=True)
class Challenger:
    file: Path
    model: str  # sha256 of the file
    data: str  # DVC's hash of data/split/train


def promote(root: Path = Path(), *, reason: str | None = None) -> Entry | None:
    """Makes the challenger the champion; None if it is that already.

    reason: why it shall be so whatever the gate's decision is. Raises UserError without one unless
    the gate decided PROMOTE for exactly these two models, if any file differs from dvc.lock or the
    ledger, and if a signature that is asked for is in doubt or cannot be made.
    """
    if reason is not None and not reason.strip():
        raise UserError("--force needs a reason: the ledger keeps it")
    with _alone(root):
        history = ledger.read(root)
        last, challenger = history[-1] if history else None, _challenger(root)
        begun = _begun(root, last, challenger)
        if last and last.model == challenger.model:
            return None
        decision = (CHAMPION_FOLDER if begun else GATE) / "decision.json"
        if reason is None:
            _refuse_without_decision(root, decision, challenger, last)
        ledger.refuse_doubts(root)  # a new line vouches for those before
        signing.refuse_trouble(root)
        if not begun:
            git_dvc.refuse_without_repository(root, "a promotion")  # DVC refuses halfway
            _fill(root, challenger)
        # A broken-off `dvc add` may have left half of it.
        (root / CHAMPION_POINTER).unlink(missing_ok=True)
        git_dvc.dvc(root, "add", str(CHAMPION_FOLDER))
        decided = root / CHAMPION_FOLDER / decision.name
        facts = {
            "model": challenger.model,
            "data": challenger.data,
            "decision": hashing.sha256(decided),
            "reading": read_json(decided).get("reading"),
        }
        return ledger.append(
            root, action="promote", champion=ledger.tracked(root), reason=reason, **facts
        )


def rollback(root: Path = Path(), number: int | None = None) -> tuple[Entry, bool]:
    """Makes the champion of a line of the ledger (default: the previous one) the champion again.

    Returns the ledger's last line, and whether it is new: always, where that one lacked a signature
    that is asked for. Raises UserError, with nothing changed, if there is no such line, DVC's cache
    does not have that champion whole, or a signature is in doubt or cannot be made.
    """
    with _alone(root):
        history = ledger.read(root)
        target, last = _target(history, number), history[-1]
        unsigned = signing.asked(root) and not last.signature
        if not (unsigned and target == last):  # so one vouches for it
            ledger.refuse_doubts(root)
        signing.refuse_trouble(root)
        cache = git_dvc.cache_folder(root)
        if not _whole(cache, target.champion["md5"]):
            fetch = "dvc fetch" if target == last else "dvc fetch --all-commits"
            raise UserError(
                f"DVC's cache does not have line {target.number}'s champion whole; "
                f"run `{fetch}`, then this again"
            )
        with replacing(root / CHAMPION_POINTER) as temporary:
            temporary.write_text(yaml.safe_dump({"outs": [target.champion]}, sort_keys=False))
        remove(root / CHAMPION_FOLDER)  # DVC would trust the times of files that it knows
        git_dvc.dvc(root, "checkout", "--force", str(CHAMPION_POINTER))
        if target.champion == last.champion and not unsigned:
            return last, False
        facts = target.model_dump(include={"model", "data", "decision", "champion"})
        return ledger.append(root, action="rollback", reason=None, **facts), True


def refuse_part(root: Path) -> None:
    """Raises UserError unless every stage has its results, and Git can keep those that it is to."""
    if missing := pipeline.stages(root).keys() - pipeline.lock(root).keys():
        raise UserError(f"dvc.lock says nothing of the stage {min(missing)}; run `dvc repro`")
    kept = (out for out in verification.locked(root, paths.ARTIFACTS) if not out.cached)
    verification.refuse_differences(root, kept)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Waits for any other promotion in this working copy."""
    path = root / ".imagetrail" / "promotion.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for leftover in (root / paths.CHAMPION).glob(".*.partial"):
            remove(leftover)
        yield


def _challenger(root: Path) -> Challenger:
    """What `export` chose; raises UserError if a file that goes with it differs from dvc.lock."""
    outs = verification.locked(root, EXPORT, GATE, paths.ARTIFACTS / "evaluate", MAPS.parent)
    if not any(out.owner == "gate" for out in outs):
        raise UserError("there is no model to promote; run `dvc repro` first")
    verification.refuse_differences(root, outs)
    file = pipeline.challenger(root)
    return Challenger(file, hashing.sha256(file), pipeline.data_version(root))


def _begun(root: Path, last: Entry | None, challenger: Challenger) -> bool:
    """Whether a promotion of this challenger was broken off after its folder was there.

    Raises UserError if the folder holds what the ledger knows nothing of.
    """
    model = root / CHAMPION_MODEL
    held = hashing.sha256(model) if model.exists() else None
    if held == challenger.model and not (last and last.model == held):
        return True
    as_recorded = not (root / CHAMPION_FOLDER).exists() or (
        last and hashing.md5(root / CHAMPION_FOLDER) == last.champion["md5"]
    )
    if as_recorded and ledger.tracked(root) == (last.champion if last else None):
        return False
    heal = (
        f"`imagetrail rollback {last.number}` brings the ledger's champion back"
        if last
        else f"remove {CHAMPION_FOLDER} and {CHAMPION_POINTER}"
    )
    raise UserError(f"{CHAMPION_FOLDER} is not the champion that {LEDGER} names; {heal}")


def _refuse_without_decision(
    root: Path, file: Path, challenger: Challenger, last: Entry | None
) -> None:
    decision = read_json(root / file)
    if decision["decision"] != "PROMOTE":
        raise UserError(
            f"the gate says {decision['decision']}: {decision['reason']}; "
            "`imagetrail promote --force REASON` does it all the same, "
            "and the ledger keeps the reason"
        )
    of = {"challenger": challenger.model, "champion": last.model if last else None}
    for name, model in of.items():
        if decision.get(name) != model:
            raise UserError(
                f"{file} is about another {name} than {(model or 'none')[:12]}; run `dvc repro`"
            )


def _fill(root: Path, challenger: Challenger) -> None:
    """champion/model/ with the challenger and all that is known of it, whole or not at all."""
    origin: dict[str, Any] = {"model": challenger.model, "data": challenger.data}
    origin |= {"commit": git_dvc.head(root), "dataset": pipeline.dataset(root)}
    with replacing(root / CHAMPION_FOLDER) as folder:
        folder.mkdir(parents=True)
        shutil.copyfile(challenger.file, folder / CHAMPION_MODEL.name)
        for file in COPIES:
            shutil.copyfile(root / file, folder / file.name)
        if challenger.file.parent == root / EXPORT and (root / MAPS).exists():  # no student
            shutil.copyfile(root / MAPS, folder / MAPS.name)
        write_json(folder / "origin.json", origin)


def _target(history: list[Entry], number: int | None) -> Entry:
    if not history:
        raise UserError("no model has been promoted yet")
    if number is not None:
        if not 1 <= number <= len(history):
            raise UserError(f"the ledger has no line {number}; it has {len(history)}")
        return history[number - 1]
    promotions = [entry for entry in history if entry.action == "promote"]
    model = history[-1].model
    present = max((entry.number for entry in promotions if entry.model == model), default=0)
    before = [entry for entry in promotions if entry.number < present and entry.model != model]
    if not before:
        raise UserError("there is no champion before the present one")
    return before[-1]


def _whole(cache: Path, md5: str) -> bool:
    """Whether the cache has this folder with every file, undamaged."""
    listing = git_dvc.cached(cache, md5)
    if not listing.exists():
        return False
    needed = [md5, *verification.listing(cache, md5).values()]
    files = {git_dvc.cached(cache, name): name.removesuffix(".dir") for name in needed}
    return all(file.exists() for file in files) and all(
        found == files[file] for file, found in hashing.hashed(files)
    )
