"""Signatures of the ledger's lines by SSH keys, which a project may ask for.

It asks for them by `champion/allowed_signers`, a file as ssh-keygen has it. What is signed is the
seal of a line: with it, all lines before are vouched for.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.base.paths import SIGNERS
from imagetrail.release import git_dvc

KEY = "IMAGETRAIL_SIGN"
NAMESPACE = "imagetrail"  # a signature for this is none for a commit or an e-mail
NOISE = ("@", "Signing data")


def asked(root: Path) -> bool:
    """Whether the champion's lines shall be signed."""
    return (root / SIGNERS).exists()


def refuse_trouble(root: Path) -> None:
    """Raises UserError if this user's signature is asked for and could not be made, or not count.

    It is called before anything changes, and before hours of work.
    """
    if asked(root) or os.environ.get(KEY):
        sign(root, "nothing", git_dvc.user(root), when="")


def sign(root: Path, seal: str, who: str, when: str) -> str:
    """Signs a line as this user; empty where no signature is asked for.

    Raises UserError without a key, or if the key is not that of a signer of this name.
    """
    key = os.environ.get(KEY, "")
    if not asked(root) and not key:
        return ""
    if not asked(root):
        raise UserError(
            f"{KEY} is set, and {SIGNERS} is missing, which says whose signatures count; "
            f"write it, a line a signer: `{_address(who)} ssh-ed25519 AAAA…`"
        )
    if not key:
        raise UserError(f"{SIGNERS} asks for a signature; set {KEY} to the file of your SSH key")
    file = Path(key).expanduser()
    if not file.is_file():
        raise UserError(f"{KEY}: {file}: no such file")
    made = _ssh_keygen("sign", "-f", str(file), given=seal)
    if made.returncode:
        told = [line for line in made.stderr.splitlines() if not line.startswith(NOISE)]
        raise UserError(f"{KEY}: {file} did not sign: {(told or ['no reason is given'])[0]}")
    if doubt := doubts(root, seal, made.stdout, who, when):
        raise UserError(f"{KEY}: {file}: the signature {doubt}; add its public key there")
    return made.stdout


def doubts(root: Path, seal: str, signature: str, who: str, when: str) -> str:
    """What speaks against a signature; empty: it is of this line, by a signer of this name.

    who: Git's name and address, of which the address counts. when: ISO 8601 in UTC, for signers
    that were, or will be, ones for a time; empty: now.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        of = ("-s", file.name)
        if _ssh_keygen("check-novalidate", *of, given=seal).returncode:
            return "is not of this line"
        signer = ("-f", str(root / SIGNERS), "-I", _address(who))
        at = ("-O", f"verify-time={re.sub('[^0-9]', '', when)[:14]}") if when else ()
        if _ssh_keygen("verify", *of, *signer, *at, given=seal).returncode:
            return f"is by no key that {SIGNERS} has of {_address(who)}"
    return ""


def _address(who: str) -> str:
    """ada@example.org of Ada <ada@example.org>."""
    found = re.search(r"<([^<>]+)>$", who)
    return found[1] if found else who


def _ssh_keygen(verb: str, *words: str, given: str) -> "subprocess.CompletedProcess[str]":
    command = ["ssh-keygen", "-Y", verb, "-n", NAMESPACE, *words]
    environment = os.environ | {"TZ": "UTC0"}  # in which it reads a time
    try:
        return subprocess.run(command, input=given, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        raise UserError(
            "ssh-keygen is not installed, or not on PATH, which signs and checks the ledger; "
            "it is in the package openssh-client"
        ) from None
