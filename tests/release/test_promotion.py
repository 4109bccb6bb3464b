"""One champion at every moment: promotions and rollbacks with real Git, DVC and MLflow, killed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from mlflow import MlflowClient  # noqa: TID251  tests look at what users see
from workshop import Workshop

from imagetrail.base import hashing
from imagetrail.base.errors import UserError
from imagetrail.base.paths import CHAMPION_FOLDER, CHAMPION_MODEL, CHAMPION_POINTER, LEDGER
from imagetrail.release import git_dvc, ledger, promotion, verification

KILLED = 77


def state(root: Path) -> tuple[list[tuple[str, str]], dict[str, Any] | None, dict[str, str]]:
    """What makes up the champion: the ledger, the pointer and the folder."""
    history = [(entry.action, entry.model) for entry in ledger.read(root)]
    return history, ledger.tracked(root), hashing.contents(root / CHAMPION_FOLDER)


def effects(root: Path, event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audit event is a step of a promotion: its files change, or DVC is called."""
    if event == "subprocess.Popen":
        return "dvc" in arguments[1]
    if not arguments or str(root / "champion") not in "".join(map(str, arguments[:2])):
        return False
    if event in ("os.remove", "os.mkdir"):  # many of these find nothing to do
        return os.path.lexists(arguments[0]) == (event == "os.remove")
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    return bool(event in ("os.rename", "os.rmdir", "shutil.rmtree") or writes)


def killed_at(step: int, root: Path, action: str) -> bool:
    """Runs promote or rollback in a process that dies before that step; False if it has fewer."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event[:2] in ("os", "op", "sh", "su") and effects(root, event, arguments):
                seen += 1
                if seen == step:
                    os._exit(KILLED)

        sys.addaudithook(hook)
        promotion.promote(root) if action == "promote" else promotion.rollback(root)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED


def test_a_promotion_is_a_folder_a_pointer_and_a_line(workshop: Workshop) -> None:
    entry = promotion.promote(workshop.root)
    root = workshop.root
    assert entry and entry.model == hashing.sha256(root / CHAMPION_MODEL) == hashing.sha256(
        root / "artifacts/export/model.onnx"
    )
    assert {file.name for file in (root / CHAMPION_FOLDER).iterdir()} == {
        "model.onnx",
        "metrics.json",
        "decision.json",
        "disagreements.png",
        "looked.png",
        "reference.npz",
        "trained_on.parquet",
        "scores.json",
        "origin.json",
    }
    train = yaml.safe_load((root / "dvc.lock").read_text())["stages"]["split"]["outs"]
    assert entry.data == {out["path"]: out["md5"] for out in train}["data/split/train"]
    origin = json.loads((root / CHAMPION_FOLDER / "origin.json").read_text())
    assert origin == {
        "model": entry.model,
        "data": entry.data,
        "commit": git_dvc.head(root),
        "dataset": "toy",
    }
    ids = pq.read_table(root / CHAMPION_FOLDER / "trained_on.parquet")["id"].to_pylist()
    assert ids == [f"train{number}" for number in range(24)]
    (line,) = (root / LEDGER).read_text().splitlines()
    entry = json.loads(line)
    assert (
        entry["number"] == 1
        and entry["who"] == "Ada <ada@example.org>"
        and entry["commit"] == origin["commit"]
    )
    assert (
        entry["decision"] == hashing.sha256(root / "artifacts/gate/decision.json")
        and entry["reason"] is None
    )
    assert (
        entry["champion"] == yaml.safe_load((root / CHAMPION_POINTER).read_text())["outs"][0]
        and len(entry["seal"]) == 64
    )
    assert verification.verify(root, root / ".dvc/cache") == []


def test_promoting_the_champion_again_does_nothing(workshop: Workshop) -> None:
    promotion.promote(workshop.root)
    before = state(workshop.root)
    assert promotion.promote(workshop.root) is None
    workshop.dvc("repro")  # the gate now finds the challenger to be the champion
    assert promotion.promote(workshop.root) is None and state(workshop.root) == before


def test_after_a_promotion_only_the_gate_runs_and_a_clone_gets_all(
    workshop: Workshop, tmp_path: Path
) -> None:
    promotion.promote(workshop.root)
    assert workshop.dvc("repro").count("Running stage 'gate'") == 1
    assert "Running stage" not in workshop.dvc("repro") and "up to date" in workshop.dvc("status")
    workshop.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    workshop.dvc("push")
    workshop.commit()
    workshop.run("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = Workshop(tmp_path / "clone")
    clone.dvc("pull")
    assert "Running stage" not in clone.dvc("repro") and state(clone.root) == state(workshop.root)
    assert verification.verify(clone.root, clone.root / ".dvc/cache") == []


def test_killed_at_every_step_of_a_promotion_it_still_ends_as_one_that_was_not(
    workshop: Workshop, tmp_path: Path
) -> None:
    promotion.promote(workshop.root)
    workshop.train(2)
    whole = workshop.copy(tmp_path / "whole")
    promotion.promote(whole.root)
    filling = steps_survived(
        workshop.root, "promote", until=lambda: challenger_is_in(workshop.root)
    )
    completing = steps_survived(
        workshop.root, "promote", until=lambda: len(ledger.read(workshop.root)) == 2
    )
    assert (
        filling > 10 and completing >= 4
    )  # pointer removed, DVC called, ledger opened, ledger renamed, …
    assert promotion.promote(workshop.root) is None and state(workshop.root) == state(whole.root)
    assert [
        path.name for path in (workshop.root / "champion").iterdir() if "partial" in path.name
    ] == []


def steps_survived(root: Path, action: str, *, until: Callable[[], bool]) -> int:
    """Runs the action again and again, killed one step later each time; returns how often."""
    step = 0
    while not until() and killed_at(step + 1, root, action):
        step += 1
    return step


def challenger_is_in(root: Path) -> bool:
    return (root / CHAMPION_MODEL).exists() and (root / CHAMPION_MODEL).read_bytes() == (
        root / "artifacts/export/model.onnx"
    ).read_bytes()


def test_a_gate_that_ran_in_the_middle_of_a_promotion_does_not_stop_it(workshop: Workshop) -> None:
    promotion.promote(workshop.root)
    workshop.train(2)
    steps_survived(workshop.root, "promote", until=lambda: challenger_is_in(workshop.root))
    workshop.dvc("repro")
    assert (
        json.loads((workshop.root / "artifacts/gate/decision.json").read_text())["decision"]
        == "HOLD"
    )
    entry = promotion.promote(workshop.root)
    assert (
        entry
        and entry.number == 2
        and verification.verify(workshop.root, workshop.root / ".dvc/cache") == []
    )


def test_killed_at_every_step_of_a_rollback_it_still_ends_as_one_that_was_not(
    workshop: Workshop, tmp_path: Path
) -> None:
    promotion.promote(workshop.root)
    workshop.train(2)
    promotion.promote(workshop.root)
    whole = workshop.copy(tmp_path / "whole")
    promotion.rollback(whole.root)
    assert (
        steps_survived(
            workshop.root, "rollback", until=lambda: len(ledger.read(workshop.root)) == 3
        )
        > 5
    )
    assert state(workshop.root) == state(whole.root)


def test_a_pointer_that_dvc_left_half_written_is_written_again(workshop: Workshop) -> None:
    promotion.promote(workshop.root)
    (workshop.root / LEDGER).unlink()
    (workshop.root / CHAMPION_POINTER).write_text("outs:\n- md5")
    entry = promotion.promote(workshop.root)
    assert entry and entry.number == 1 and ledger.tracked(workshop.root) == entry.champion


@pytest.mark.parametrize("verdict", ["HOLD", "REJECT"])
def test_without_the_word_promote_nothing_is_promoted(workshop: Workshop, verdict: str) -> None:
    workshop.train(2, verdict)
    with pytest.raises(
        UserError, match=f"the gate says {verdict}: so it is; `imagetrail promote --force REASON`"
    ):
        promotion.promote(workshop.root)
    assert not (workshop.root / CHAMPION_FOLDER).exists() and not (workshop.root / LEDGER).exists()


def test_force_keeps_its_reason(workshop: Workshop) -> None:
    workshop.train(2, "HOLD")
    with pytest.raises(UserError, match="needs a reason"):
        promotion.promote(workshop.root, reason=" ")
    promotion.promote(workshop.root, reason="the client wants it")
    assert ledger.read(workshop.root)[0].reason == "the client wants it"


def test_a_decision_about_other_files_promotes_nothing(workshop: Workshop, tmp_path: Path) -> None:
    other = workshop.copy(tmp_path / "other")
    (other.root / "artifacts/export/model.onnx").write_bytes(b"another")
    with pytest.raises(UserError, match="artifacts/export/model.onnx is not what dvc.lock"):
        promotion.promote(other.root)
    decision = json.loads((workshop.root / "artifacts/gate/decision.json").read_text())
    for name in ("challenger", "champion"):
        (workshop.root / "artifacts/gate/decision.json").write_text(
            json.dumps(decision | {name: "0" * 64})
        )
        workshop.dvc("commit", "--force", "--quiet", "gate")
        with pytest.raises(UserError, match=f"decision.json is about another {name}"):
            promotion.promote(workshop.root)
    assert not (workshop.root / CHAMPION_FOLDER).exists()


def test_a_decision_made_against_an_earlier_champion_no_longer_counts(workshop: Workshop) -> None:
    first = (workshop.root / "artifacts/gate/decision.json").read_text()
    promotion.promote(workshop.root)
    workshop.train(2)
    decision = json.loads((workshop.root / "artifacts/gate/decision.json").read_text())
    stale = decision | {"champion": json.loads(first)["champion"]}
    (workshop.root / "artifacts/gate/decision.json").write_text(json.dumps(stale))
    workshop.dvc("commit", "--force", "--quiet", "gate")
    with pytest.raises(UserError, match="another champion"):
        promotion.promote(workshop.root)


def test_a_champion_that_no_ledger_names_is_refused_and_healed(workshop: Workshop) -> None:
    promotion.promote(workshop.root)
    workshop.train(2)
    before = (workshop.root / CHAMPION_MODEL).stat()
    (workshop.root / CHAMPION_MODEL).write_bytes(
        (workshop.root / CHAMPION_MODEL).read_bytes()[::-1]
    )
    os.utime(
        workshop.root / CHAMPION_MODEL, ns=(before.st_atime_ns, before.st_mtime_ns)
    )  # DVC itself sees no change
    with pytest.raises(
        UserError,
        match="not the champion that champion/ledger.jsonl names; `imagetrail rollback 1`",
    ):
        promotion.promote(workshop.root)
    entry, new = promotion.rollback(workshop.root, 1)
    assert not new and hashing.sha256(workshop.root / CHAMPION_MODEL) == entry.model
    assert promotion.promote(workshop.root)


def test_a_pointer_to_another_champion_is_refused(workshop: Workshop) -> None:
    promotion.promote(workshop.root)
    workshop.train(2)
    (workshop.root / CHAMPION_POINTER).write_text(
        (workshop.root / CHAMPION_POINTER).read_text().replace("md5: ", "md5: 0", 1)
    )
    with pytest.raises(UserError, match="not the champion that champion/ledger.jsonl names"):
        promotion.promote(workshop.root)


def test_rolling_back_goes_one_champion_further_each_time(workshop: Workshop) -> None:
    models = [workshop.train(1)]
    promotion.promote(workshop.root)
    for seed in (2, 3):
        models.append(workshop.train(seed))
        promotion.promote(workshop.root)
    for expected in (models[1], models[0]):
        entry, new = promotion.rollback(workshop.root)
        assert (
            new
            and entry.action == "rollback"
            and entry.model == expected == hashing.sha256(workshop.root / CHAMPION_MODEL)
        )
    with pytest.raises(UserError, match="no champion before the present one"):
        promotion.rollback(workshop.root)
    entry, _ = promotion.rollback(workshop.root, 3)
    assert entry.number == 6 and entry.model == models[2]
    assert verification.verify(workshop.root, workshop.root / ".dvc/cache") == []
    with pytest.raises(UserError, match="the ledger has no line 9; it has 6"):
        promotion.rollback(workshop.root, 9)


def test_a_champion_that_the_cache_lost_is_not_rolled_back_to(workshop: Workshop) -> None:
    first = promotion.promote(workshop.root)
    workshop.train(2)
    promotion.promote(workshop.root)
    before = state(workshop.root)
    assert first
    cache = workshop.root / ".dvc/cache"
    held = git_dvc.cached(cache, verification.listing(cache, first.champion["md5"])["model.onnx"])
    content = held.read_bytes()
    for damage in (lambda: held.unlink(), lambda: held.write_bytes(content[:-1])):
        damage()
        with pytest.raises(
            UserError, match="does not have line 1's champion whole; run `dvc fetch --all-commits`"
        ):
            promotion.rollback(workshop.root)
        assert state(workshop.root) == before
    held.write_bytes(content)
    assert promotion.rollback(workshop.root)[0].model == first.model


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            lambda lines: [lines[0].replace("Ada", "Eve"), *lines[1:]],
            "line 1 is not what imagetrail wrote there",
        ),
        (
            lambda lines: [lines[0], lines[1].replace("Ada", "Eve")],
            "line 2 is not what imagetrail wrote there",
        ),
        (lambda lines: lines[1:], "line 1 has the number 2"),
        (lambda lines: [lines[1], lines[0]], "line 1 has the number 2"),
        (lambda lines: [lines[0], "{"], "line 2 is not JSON"),
        (lambda lines: [lines[0], "", lines[1]], "line 2 is not JSON"),
        (lambda lines: [lines[0], "\udcff"], "line 2 is not JSON"),
        (lambda lines: [lines[0], "[]"], "line 2: input should be"),
        (lambda lines: [lines[0], lines[1].replace('"who"', '"whom"')], "line 2.whom: unknown key"),
        (lambda lines: [lines[0], lines[1].replace('"promote"', '"demote"')], "line 2.action"),
    ],
)
def test_a_ledger_edited_by_hand_is_refused_and_nothing_changes(
    workshop: Workshop, edit: Any, words: str
) -> None:
    chain(workshop.root)
    lines = (workshop.root / LEDGER).read_text().splitlines()
    (workshop.root / LEDGER).write_text("\n".join(edit(lines)) + "\n", errors="surrogateescape")
    before = (workshop.root / LEDGER).read_bytes()
    for action in (promotion.promote, promotion.rollback):
        with pytest.raises(UserError) as caught:
            action(workshop.root)
        assert words in str(caught.value)
    assert (workshop.root / LEDGER).read_bytes() == before and not (
        workshop.root / CHAMPION_FOLDER
    ).exists()


def chain(root: Path) -> None:
    """Two lines as promotions write them."""
    for model in "ab":
        facts = {
            "model": model * 64,
            "data": "d",
            "decision": "e",
            "champion": {"md5": model},
            "reason": None,
        }
        ledger.append(root, action="promote", **facts)


def test_two_promotions_at_once_make_one_line(workshop: Workshop) -> None:
    command = [
        sys.executable,
        "-c",
        "from imagetrail.release import promotion; promotion.promote()",
    ]
    both = [
        subprocess.Popen(command, cwd=workshop.root, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[1] for process in both] == ["", ""]
    assert (
        len(ledger.read(workshop.root)) == 1
        and verification.verify(workshop.root, workshop.root / ".dvc/cache") == []
    )


def test_the_alias_in_mlflow_follows_the_ledger_at_once_or_later(workshop: Workshop) -> None:
    store = f"sqlite:///{workshop.root / 'mlflow.db'}"
    down = workshop.imagetrail("promote", MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert (
        "number 1 of the ledger" in down
        and "`imagetrail publish` catches up" in down
        and "Traceback" not in down
    )
    workshop.imagetrail("publish")
    client = MlflowClient(store)
    assert client.get_model_version_by_alias("toy", "champion").version == 1
    workshop.train(2)
    assert "number 2 of the ledger" in workshop.imagetrail("promote")
    assert client.get_model_version_by_alias("toy", "champion").version == 2
    assert "number 3 of the ledger" in workshop.imagetrail("rollback")
    assert client.get_model_version_by_alias("toy", "champion").version == 1
    assert len(client.search_model_versions("name = 'toy'")) == 2


def test_mistakes_at_the_command_line_are_one_line(workshop: Workshop) -> None:
    workshop.train(2, "REJECT")
    for words in (["promote"], ["rollback"], ["rollback", "7"], ["promote", "--force", ""]):
        (line,) = workshop.imagetrail(*words, ok=False).splitlines()
        assert line.startswith("error: ")
