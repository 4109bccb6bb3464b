"""Two people, two branches, an empty cache: what happens is what docs/use/retraining.md says."""

import shutil
from pathlib import Path

import pytest
from workshop import Workshop

from imagetrail.base.errors import UserError
from imagetrail.base.paths import CHAMPION_MODEL, champion_present
from imagetrail.release import git_dvc, ledger, promotion, pull_request, verification


@pytest.fixture
def shared(workshop: Workshop, tmp_path: Path) -> Workshop:
    """With a remote that has all, and a champion."""
    workshop.dvc("remote", "add", "--default", "team", str(tmp_path / "remote"))
    promotion.promote(workshop.root)
    workshop.dvc("repro", "--quiet")
    workshop.commit("champion")
    workshop.dvc("push", "--quiet")
    return workshop


def clone(shared: Workshop, tmp_path: Path) -> Workshop:
    shared.run("git", "clone", "--quiet", str(shared.root), str(tmp_path / "clone"))
    return Workshop(tmp_path / "clone")


def test_an_empty_cache_gets_what_the_remote_has_and_makes_the_rest_again(
    shared: Workshop, tmp_path: Path
) -> None:
    (lost,) = [out for out in verification.locked(shared.root) if "split/valid" in out.path]
    git_dvc.cached(tmp_path / "remote", lost.md5).unlink()
    ci = clone(shared, tmp_path)
    with pytest.raises(UserError, match=r"run `dvc pull champion/model.dvc`"):
        champion_present(ci.root)
    ci.dvc("pull", "--allow-missing", "--quiet")
    said = ci.dvc("repro")
    assert "Running stage 'split'" in said and "Running stage 'export'" not in said
    assert verification.verify(ci.root, ci.root / ".dvc/cache") == []


def test_a_lock_in_conflict_is_resolved_as_the_line_says(shared: Workshop) -> None:
    shared.run("git", "checkout", "--quiet", "-b", "other")
    shared.train(2)
    shared.commit("theirs")
    shared.run("git", "checkout", "--quiet", "main")
    ours = shared.train(3)
    shared.commit("ours")
    shared.run("git", "merge", "--quiet", "other", ok=False)
    shared.run("git", "checkout", "--ours", "--", "given", "artifacts")
    said = shared.imagetrail("verify", ok=False)
    assert said.count("\n") == 1 and "in conflict" in said
    shared.run("sh", "-c", said.split("`")[1])
    shared.dvc("repro")
    assert shared.imagetrail("verify").startswith("every byte")
    assert ours == promotion._challenger(shared.root).model


def retrained(workshop: Workshop) -> Path:
    """On other pictures, not yet proposed; its report."""
    report = workshop.root / "artifacts/report/report.md"
    report.parent.mkdir()
    report.write_text("# Report\n")
    workshop.train(2)
    workshop.run("git", "commit", "-qm", "Pictures", "--", "given")
    return report


def test_a_proposal_that_was_killed_before_its_champion_is_completed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrained(workshop)
    with monkeypatch.context() as patched:
        patched.setattr(promotion, "promote", lambda _: exec("raise KeyboardInterrupt"))
        with pytest.raises(KeyboardInterrupt):
            pull_request.propose(workshop.root)
    assert ledger.read(workshop.root) == []
    assert "with the new champion" in pull_request.propose(workshop.root)
    assert len(ledger.read(workshop.root)) == 1 and (workshop.root / CHAMPION_MODEL).exists()
    assert workshop.run("git", "status", "--porcelain", "--untracked-files=no") == ""
    assert "nothing to do" in pull_request.propose(workshop.root)


def test_a_proposal_that_was_killed_while_the_gate_ran_again_is_completed(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = retrained(workshop)
    dvc = git_dvc.dvc

    def killed(root: Path, *words: str) -> str:
        if words == ("repro",):  # DVC takes a stage's results away before it runs it
            (root / "artifacts/gate/decision.json").unlink()
            report.unlink()
            raise KeyboardInterrupt
        return dvc(root, *words)

    with monkeypatch.context() as patched:
        patched.setattr(git_dvc, "dvc", killed)
        with pytest.raises(KeyboardInterrupt):
            pull_request.propose(workshop.root)
    assert len(ledger.read(workshop.root)) == 1
    assert "PROMOTE" in pull_request.propose(workshop.root)
    assert workshop.run("git", "status", "--porcelain", "--untracked-files=no") == ""
    assert workshop.run("git", "log", "-1", "--format=%s").startswith("Champion: ")
    page = (workshop.root / pull_request.BODY).read_text()
    assert page.startswith("PROMOTE: ") and "with the new champion" in page and "# Report" in page
    assert "nothing to do" in pull_request.propose(workshop.root)


def test_results_that_a_running_stage_has_taken_away_are_not_proposed(workshop: Workshop) -> None:
    workshop.train(2)
    workshop.run("git", "commit", "-qm", "Pictures", "--", "given")
    before = git_dvc.head(workshop.root)
    (workshop.root / "artifacts/evaluate/metrics.json").unlink()
    with pytest.raises(UserError, match=r"^artifacts/evaluate/metrics.json is missing"):
        pull_request.propose(workshop.root)
    workshop.dvc("repro", "--quiet")
    lock = workshop.root / "dvc.lock"
    lock.write_text(lock.read_text().partition("  gate:")[0])  # torn where it is whole to DVC
    with pytest.raises(UserError, match=r"says nothing of the stage gate; run `dvc repro`$"):
        pull_request.propose(workshop.root)
    assert git_dvc.head(workshop.root) == before
    assert workshop.run("git", "branch", "--show-current") == "main\n"


def test_the_page_of_a_proposal_begins_with_what_changed_since_the_last_results(
    workshop: Workshop,
) -> None:
    report = workshop.root / "artifacts/report/report.md"
    report.parent.mkdir()
    report.write_text("# Report\n")
    workshop.commit("results")
    workshop.train(2)
    workshop.run("git", "commit", "-qm", "Pictures of May", "--", "given")
    pull_request.propose(workshop.root)
    page = (workshop.root / pull_request.BODY).read_text()
    since = page.split("Since the last results:\n\n")[1].split("\n\n")[0]
    assert since.endswith(" Pictures of May (Ada)") and since.count("\n") == 0
    assert "nothing to do" in pull_request.propose(workshop.root)
    assert (workshop.root / pull_request.BODY).read_text() == page


def test_a_rejected_branch_is_passed_over_once_there_have_been_other_results(
    shared: Workshop, tmp_path: Path
) -> None:
    (shared.root / "params.yaml").write_text("data: {name: toy}\nnew: 1\n")
    shared.commit("new params")
    shared.train(2)
    shared.run("git", "checkout", "--quiet", "-b", pull_request.REJECTED)
    shared.commit("rejected")
    shared.run("git", "checkout", "--quiet", "main")
    ci = clone(shared, tmp_path)
    assert pull_request.REJECTED in pull_request.recall(ci.root)
    shared.train(3)
    shared.commit("months later")
    shutil.rmtree(ci.root)
    assert "of the last commit" in pull_request.recall(clone(shared, tmp_path).root)
