"""Git's locks after a kill: one whose git is gone blocks every command that commits."""

import time
from pathlib import Path

SETTLED = 3.0  # seconds that a lock must be old: a git that has just begun may not be seen


def heal(root: Path) -> list[str]:
    """Removes the locks that no git of this machine holds, and says so, a line each."""
    folder, told = root / ".git", []
    for lock in (*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")):
        if _stays(lock) and not _at_work(root):
            lock.unlink(missing_ok=True)
            told.append(f"{lock.relative_to(root)} was left by a git that was killed: removed")
    return told


def _stays(lock: Path) -> bool:
    """Whether it is still there once it is SETTLED; waits for that."""
    deadline = time.monotonic() + SETTLED
    while time.monotonic() < deadline:
        try:
            if time.time() - lock.stat().st_mtime >= SETTLED:
                return True
        except FileNotFoundError:
            return False
        time.sleep(0.1)
    return lock.exists()


def _at_work(root: Path) -> bool:
    """Whether a git runs in this folder; one that cannot be looked at may."""
    import psutil  # here: most commands find no lock

    for process in psutil.process_iter(["name"]):
        if process.info["name"] == "git":
            try:
                folder = Path(process.cwd())
            except psutil.NoSuchProcess:
                continue
            except psutil.Error:
                return True
            if folder.is_relative_to(root.resolve()):
                return True
    return False
