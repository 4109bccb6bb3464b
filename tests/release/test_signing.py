"""Signed champions, by the real ssh-keygen: who may, what counts, and what verify says else."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from workshop import Workshop

from imagetrail.base.errors import UserError
from imagetrail.base.paths import CHAMPION_FOLDER, LEDGER, SIGNERS
from imagetrail.release import ledger, promotion, pull_request, signing, verification
from imagetrail.tracking import publish

pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="no ssh-keygen here")
ADA = "ada@example.org"  # whom the workshop's Git knows


def key(folder: Path, name: str) -> Path:
    """A private key, whose public one is beside it."""
    file = folder / name
    words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(file))
    subprocess.run(words, check=True)
    return file


def allow(root: Path, *signers: str) -> None:
    (root / SIGNERS).write_text("".join(f"{signer}\n" for signer in signers))


def public(file: Path) -> str:
    return file.with_suffix(".pub").read_text().strip()


@pytest.fixture
def ada(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The key of the one who may sign, and does."""
    file = key(tmp_path, "ada")
    allow(workshop.root, f'{ADA} namespaces="imagetrail" {public(file)}')
    monkeypatch.setenv(signing.KEY, str(file))
    return file


def verify(root: Path) -> list[str]:
    return [str(finding) for finding in verification.verify(root, root / ".dvc/cache")]


def lines(root: Path, *models: str) -> None:
    """Lines as promotions write them."""
    for model in models:
        facts = {"model": model * 64, "data": "d", "decision": "e", "champion": {"md5": model}}
        ledger.append(root, action="promote", reason=None, **facts)


def doubts(root: Path) -> str:
    return ledger.doubts(root, ledger.read(root))


def write_anew(root: Path, number: int, **changes: str) -> None:
    """Changes a line as somebody would who can push and knows how lines are sealed."""
    written, before = [], ""
    for entry in ledger.read(root):
        changed = entry.model_copy(update=changes if entry.number == number else {})
        before = ledger._seal(changed, before)
        sealed = changed.model_copy(update={"seal": before})
        written.append(json.dumps(sealed.model_dump(exclude_unset=True)) + "\n")
    (root / LEDGER).write_text("".join(written))


@pytest.mark.usefixtures("ada")
def test_promotions_and_rollbacks_are_signed_and_verified(workshop: Workshop) -> None:
    promotion.promote(workshop.root)
    workshop.train(2)
    promotion.promote(workshop.root)
    entry, new = promotion.rollback(workshop.root)
    assert (
        new
        and [line.signature[:29] for line in ledger.read(workshop.root)]
        == ["-----BEGIN SSH SIGNATURE-----"] * 3
    )
    assert verify(workshop.root) == [] and entry.number == 3


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize("number", [1, 2])
def test_a_line_that_is_written_anew_is_found_though_its_seals_fit(
    workshop: Workshop, number: int
) -> None:
    lines(workshop.root, "a", "b")
    assert doubts(workshop.root) == ""
    write_anew(workshop.root, number, data="another")
    assert ledger.read(workshop.root)[number - 1].data == "another"
    assert doubts(workshop.root) == (
        f"the signature of line {number} is not of this line; "
        f"bring it back with `git checkout -- {LEDGER}`"
    )


def test_where_signatures_are_asked_for_an_unsigned_line_is_a_fault(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion.promote(workshop.root)
    assert verify(workshop.root) == []
    file = key(tmp_path, "ada")
    allow(workshop.root, f"{ADA} {public(file)}")
    (line,) = verify(workshop.root)
    assert line.startswith(f"{LEDGER}: line 1 is not signed, as {SIGNERS} asks")
    workshop.train(2)
    monkeypatch.setenv(signing.KEY, str(file))
    for action in (promotion.promote, promotion.rollback, publish.publish, publish.follow):
        with pytest.raises(UserError, match=r"line 1 is not signed|no champion before"):
            action(workshop.root)
    entry, new = promotion.rollback(workshop.root, 1)  # as it says
    assert new and entry.number == 2 and entry.signature and verify(workshop.root) == []
    assert promotion.promote(workshop.root) and verify(workshop.root) == []


@pytest.mark.usefixtures("ada")
def test_who_is_no_signer_changes_nothing(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(signing.KEY, str(key(tmp_path, "eve")))
    with pytest.raises(UserError, match=f"is by no key that {SIGNERS} has of {ADA}"):
        promotion.promote(workshop.root)
    assert not (workshop.root / CHAMPION_FOLDER).exists() and not (workshop.root / LEDGER).exists()
    with pytest.raises(UserError, match="is by no key"):
        pull_request.recall(workshop.root)  # at once, and not after the training


@pytest.mark.usefixtures("ada")
def test_a_signer_s_key_under_another_name_does_not_count(workshop: Workshop) -> None:
    workshop.run("git", "config", "user.email", "eve@example.org")
    with pytest.raises(UserError, match="by no key that champion/allowed_signers has of eve@"):
        promotion.promote(workshop.root)


@pytest.mark.usefixtures("ada")
def test_a_line_signed_by_a_stranger_is_found(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eve, rules = key(tmp_path, "eve"), (workshop.root / SIGNERS).read_text()
    allow(workshop.root, f"{ADA} {public(eve)}")
    monkeypatch.setenv(signing.KEY, str(eve))
    lines(workshop.root, "a")
    assert doubts(workshop.root) == ""
    (workshop.root / SIGNERS).write_text(rules)
    assert f"the signature of line 1 is by no key that {SIGNERS} has of {ADA}" in doubts(
        workshop.root
    )


def test_a_key_counts_for_the_time_that_it_was_allowed(workshop: Workshop, ada: Path) -> None:
    lines(workshop.root, "a")
    allow(workshop.root, f'{ADA} valid-before="29991231" {public(ada)}')
    assert doubts(workshop.root) == ""
    allow(workshop.root, f'{ADA} valid-before="20200101" {public(ada)}')
    assert "is by no key" in doubts(workshop.root)


@pytest.mark.usefixtures("ada")
def test_a_line_without_its_signature_is_vouched_for_by_the_next_and_by_nothing_else(
    workshop: Workshop,
) -> None:
    lines(workshop.root, "a", "b")
    write_anew(workshop.root, 1, signature="")
    assert doubts(workshop.root) == ""
    write_anew(workshop.root, 2, signature="")
    assert doubts(workshop.root).startswith("line 2 is not signed")


@pytest.mark.usefixtures("ada")
def test_signatures_without_the_list_of_signers_are_a_fault(workshop: Workshop) -> None:
    lines(workshop.root, "a")
    (workshop.root / SIGNERS).unlink()
    back = f"bring it back with `git checkout -- {SIGNERS}`"
    assert doubts(workshop.root) == f"line 1 is signed, and {SIGNERS} is missing; {back}"


@pytest.mark.usefixtures("ada")
@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("", "champion/allowed_signers asks for a signature; set IMAGETRAIL_SIGN to the file of"),
        ("none/such", "IMAGETRAIL_SIGN: none/such: no such file"),
        ("params.yaml", "IMAGETRAIL_SIGN: params.yaml did not sign: "),
    ],
)
def test_a_missing_key_is_one_line_and_changes_nothing(
    workshop: Workshop, setting: str, words: str
) -> None:
    said = workshop.imagetrail("promote", ok=False, IMAGETRAIL_SIGN=setting)
    (line,) = said.splitlines()
    assert line.startswith(f"error: {words}"), line
    assert not (workshop.root / CHAMPION_FOLDER).exists() and not (workshop.root / LEDGER).exists()


@pytest.mark.usefixtures("ada")
def test_a_key_without_a_list_of_signers_says_what_to_write(workshop: Workshop) -> None:
    (workshop.root / SIGNERS).unlink()
    with pytest.raises(UserError, match=f"a line a signer: `{ADA} ssh-ed25519 AAAA"):
        promotion.promote(workshop.root)


@pytest.mark.usefixtures("ada")
def test_without_ssh_keygen_one_line_says_so(workshop: Workshop, tmp_path: Path) -> None:
    for name in ("git", "sh"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    where = {"PATH": str(tmp_path / "bin"), signing.KEY: os.environ[signing.KEY]}
    (line,) = workshop.imagetrail("promote", ok=False, **where).splitlines()
    assert line.startswith("error: ssh-keygen is not installed, or not on PATH")
