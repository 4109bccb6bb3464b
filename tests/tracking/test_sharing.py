"""Several projects and several publishes on one store, and what people do to it by hand."""

import hashlib
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from mlflow import MlflowClient  # noqa: TID251  tests look at what users see
from mlflow_store import runs, said_of
from project import finished
from studio import Studio
from tiny_onnx import noise, write
from workshop import Workshop

from imagetrail.base.errors import UserError
from imagetrail.release import project
from imagetrail.tracking import doubles, opening, publish, turns, ui_views
from imagetrail.tracking.opening import open_store
from imagetrail.tracking.registry import Exported, register
from imagetrail.tracking.store import CONTENT, PARENT, Store


@pytest.fixture(scope="session")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with nothing in it, which takes seconds to make."""
    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow sets the variable itself, once a store is open: it must not reach the next test."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")


@pytest.fixture
def shared(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that no repository has for its own."""
    shutil.copy(empty, tmp_path / "shared.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'shared.db'}")


def named(root: Path, name: str, project: str = "null") -> Path:
    root.mkdir(exist_ok=True)
    (root / "params.yaml").write_text(f"project: {project}\ndata: {{name: {name}}}\n")
    return root


def exported(folder: Path, seed: int) -> Exported:
    path = write(folder / f"{seed}.onnx", noise(seed=seed))
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return Exported(path, content, "a model", {"licence": "MIT"}, folder / "none.npy")


@pytest.mark.usefixtures("shared")
def test_a_project_of_the_same_name_is_refused_and_told_whose_it_is(tmp_path: Path) -> None:
    open_store(named(tmp_path / "ours", "flowers"))
    theirs = named(tmp_path / "theirs", "flowers")
    with pytest.raises(UserError) as refused:
        open_store(theirs)
    (line,) = str(refused.value).splitlines()
    assert str(tmp_path / "ours") in line and "`project` in params.yaml" in line
    store = open_store(named(theirs, "flowers", "more-flowers"))
    assert store.client.get_experiment(store.experiment).name == "more-flowers"


@pytest.mark.usefixtures("shared")
def test_a_clone_is_the_same_project_and_one_with_another_name_is_not(tmp_path: Path) -> None:
    ours = open_store(named(tmp_path / "ours", "flowers"))
    clone = Path(shutil.copytree(tmp_path / "ours", tmp_path / "clone"))
    assert open_store(clone).experiment == ours.experiment
    other = open_store(named(clone, "birds"))
    assert other.owner["imagetrail.project"] != ours.owner["imagetrail.project"]


@pytest.mark.usefixtures("shared")
def test_a_project_whose_identity_was_not_committed_is_known_by_its_place(tmp_path: Path) -> None:
    root = named(tmp_path / "ours", "flowers")
    first = open_store(root)
    (root / "data/project.json").unlink()
    assert open_store(root).owner == first.owner


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize(
    "moment", [(project, "whereabouts"), (opening, "_create")], ids=["before", "between"]
)
def test_two_clones_that_are_the_first_at_once_are_one_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: tuple[ModuleType, str]
) -> None:
    monkeypatch.setattr(project, "whereabouts", lambda _: "git@example.org:ada/flowers.git")
    ours, clone = (named(tmp_path / name, "flowers") for name in ("ours", "clone"))
    others, go_on = [], getattr(*moment)

    def overtaken(*given: Any) -> Any:
        if not others:
            others.append(None)
            others[0] = open_store(clone)
        return go_on(*given)

    monkeypatch.setattr(*moment, overtaken)
    mine = open_store(ours)
    assert mine.owner == others[0].owner == open_store(clone).owner


@pytest.mark.usefixtures("shared")
def test_an_alias_is_not_moved_off_a_version_that_is_not_the_projects(tmp_path: Path) -> None:
    store = open_store(named(tmp_path / "ours", "flowers"))
    theirs = Store(store.client, store.experiment, {"imagetrail.project": "another"})
    register(theirs, "flowers", exported(tmp_path, 1), alias="champion")
    with pytest.raises(UserError, match="flowers@champion .* 1, which is another's"):
        register(store, "flowers", exported(tmp_path, 2), alias="champion")
    aliases = store.client.get_registered_model("flowers").aliases
    assert str(aliases["champion"]) == "1"
    assert len(store.client.search_model_versions("name = 'flowers'")) == 1


def test_the_repositorys_own_database_needs_no_identity(tmp_path: Path, empty: Path) -> None:
    shutil.copy(empty, named(tmp_path / "ours", "flowers"))
    open_store(tmp_path / "ours")
    assert not (tmp_path / "ours" / "data").exists()


@pytest.mark.usefixtures("shared")
def test_a_damaged_identity_is_one_line(tmp_path: Path) -> None:
    root = named(tmp_path / "ours", "flowers")
    (root / "data").mkdir()
    (root / "data/project.json").write_text('{"name": "flow')
    with pytest.raises(UserError, match=r"project\.json is damaged .*git checkout"):
        open_store(root)


def test_an_experiment_that_was_deleted_is_restored_with_its_runs(studio: Studio) -> None:
    client, before = studio.client(), said_of(studio.client())
    client.delete_experiment(client.get_experiment_by_name("toy").experiment_id)
    assert publish.publish(studio.root).made == 0
    assert said_of(client) == before


def test_a_project_that_was_moved_keeps_its_pictures(studio: Studio) -> None:
    publish.publish(studio.root)  # the fixture has copied it here
    client = studio.client()
    (tune,) = [run for run in runs(client) if run.info.run_name == "tune"]
    assert all(run.info.artifact_uri.startswith(studio.root.as_uri()) for run in runs(client))
    assert client.list_artifacts(tune.info.run_id, "pictures")


def test_doubles_are_removed_with_all_below_them(studio: Studio) -> None:
    client, before = studio.client(), said_of(studio.client())
    (pipeline,) = [run for run in runs(client) if PARENT not in run.data.tags]
    store = open_store(studio.root)
    kept = {"imagetrail.version": pipeline.data.tags["imagetrail.version"]}
    double = store.create("pipeline again", kept)
    store.create("child", {PARENT: store.create("train", {PARENT: double})})
    assert publish.publish(studio.root).run == pipeline.info.run_id
    assert said_of(client) == before


def test_what_was_written_live_is_no_double(tmp_path: Path, empty: Path) -> None:
    shutil.copy(empty, named(tmp_path / "ours", "flowers"))
    store = open_store(tmp_path / "ours")
    store.create("live", {CONTENT: "a", doubles.ROOT: "here"})
    first = store.create("first", {CONTENT: "a"}, started=1.0)
    store.create("double", {CONTENT: "a"})
    kept = doubles.keep_one(store, store.find({}), lambda run: run.data.tags[CONTENT])
    assert [run.info.run_name for run in kept] == ["first", "live"]
    assert kept[0].info.run_id == first


@pytest.mark.usefixtures("shared")
def test_of_versions_of_the_same_content_the_first_stays_with_the_aliases_of_all(
    tmp_path: Path,
) -> None:
    store, model = open_store(named(tmp_path / "ours", "flowers")), exported(tmp_path, 1)
    register(store, "flowers", model, alias="challenger")
    first = store.client.get_model_version("flowers", "1")
    store.client.create_model_version("flowers", first.source, tags=dict(first.tags))
    store.client.set_registered_model_alias("flowers", "champion", "2")
    register(store, "flowers", model, alias="challenger")
    assert [v.version for v in store.client.search_model_versions("name = 'flowers'")] == [1]
    aliases = store.client.get_registered_model("flowers").aliases
    assert {name: str(version) for name, version in aliases.items()} == {
        "challenger": "1",
        "champion": "1",
    }


def test_a_turn_left_by_a_dead_process_of_this_machine_is_taken(
    tmp_path: Path, empty: Path
) -> None:
    shutil.copy(empty, named(tmp_path / "ours", "flowers"))
    store = open_store(tmp_path / "ours")
    left = f"{turns.TURN}dead"
    store.client.set_experiment_tag(
        store.experiment, left, f"{turns.socket.gethostname()} 999999999 1"
    )
    with turns.turn(store):
        assert left not in store.client.get_experiment(store.experiment).tags
    assert not [
        tag
        for tag in store.client.get_experiment(store.experiment).tags
        if tag.startswith(turns.TURN)
    ]


@pytest.mark.slow
def test_publishes_at_once_into_no_database_make_no_doubles_and_leave_nothing_running(
    tmp_path: Path,
) -> None:
    """Of two clones with the same results, and of one with others."""
    address = f"sqlite:///{tmp_path / 'shared.db'}"
    first = Workshop(tmp_path / "first")
    first.build()
    first.train(1)
    (first.root / "data").mkdir(exist_ok=True)
    (first.root / "data/project.json").write_text('{"name": "toy", "id": "1"}')
    clone, other = first.copy(tmp_path / "clone"), first.copy(tmp_path / "other")
    other.train(2)
    ran = [
        project.start("imagetrail", "publish", MLFLOW_TRACKING_URI=address)
        for project in (first, clone, other)
    ]
    said = [finished(process) for process in ran]
    assert [code for code, *_ in said] == [0, 0, 0], said
    client = MlflowClient(address)
    tree = list(runs(client))
    assert sum(PARENT not in run.data.tags for run in tree) == 2
    assert len(tree) == 2 * 6  # the pipeline and its five stages
    assert {run.info.status for run in tree} == {"FINISHED"}
    assert len(client.search_model_versions("name = 'toy'")) == 2


def test_a_description_that_people_have_written_stays() -> None:
    views = [ui_views.pipelines()]
    (_, (name, made)) = ui_views.front_page("1", views, {})
    assert "[Pipelines](#/experiments/1/runs?" in made
    assert (name, made) in ui_views.front_page("1", views, {name: "Views: old"})
    assert name not in dict(ui_views.front_page("1", views, {name: "Our flowers."}))
