"""What README and docs show is run: each page's commands and snippets, in a project of its own."""

import re
import shutil
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pages
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_onnx
from mlflow_store import answers, free_port
from pages import PAGES, Block
from PIL import Image
from project import ROOT, Project, kill, wait_for

from imagetrail.base import hashing, paths, samples
from imagetrail.release import ledger
from imagetrail.serving import onnx_model

CI, HERE = ".ci/run", "tests/end_to_end"
PIPELINE, SERVING = f"{HERE}/test_pipeline.py", f"{HERE}/test_serving.py"
FORCED = "test_forced_again_every_result_has_the_same_bytes"
OFFERED = "test_what_is_better_is_offered_what_is_worse_is_not_and_nothing_new_does_nothing"
REQUEST = "test_the_request_of_the_docs_gets_the_probabilities_of_the_onnx_file"
REPRODUCED = "test_a_second_clone_makes_the_same_or_reports_what_differs"
TORCHRUN = "test_torchrun_trains_one_model_as_good_as_that_of_one_process"
POSTGRESQL = "test_a_study_in_postgresql_gives_the_same_outs_and_outlives_the_folder"
MONTH = (f"{HERE}/test_month.py", "test_a_month_of_a_team_loses_nothing_and_offers_what_is_right")
COMPOSE = ("tests/docs/test_compose.py", "test_it_is_what_the_specification_of_compose_asks_for")
RAY = "test_on_a_cluster_without_a_shared_folder_nodes_come_and_go_and_the_bytes_stay"
HOSTS = "test_two_hosts_with_folders_of_their_own_train_the_model_of_two_processes"
SERVED = ("tests/service/test_serve.py", "test_curl_gets_the_answer_that_the_docs_show")
TRIED = ("tests/service/test_demo.py", "test_a_picture_is_answered_however_it_comes")
STATIC = ("tests/service/test_static_page.py", "test_the_browser_answers_as_we_do")
IMAGE = "imagetrail-serve"
CONTAINER = (
    "docker run --rm --read-only --cap-drop ALL -p 127.0.0.1:8080:8080 "
    f'-v "$PWD/artifacts/export:/model:ro" {IMAGE}'
)
CONTAINED = (
    "tests/service/test_container.py",
    "test_it_serves_with_nothing_but_what_the_image_installs",
)
REVIEWED = (
    "tests/review/test_server.py",
    "test_the_command_says_the_address_and_ends_cleanly",
)
ELSEWHERE = {  # page, command or line of a snippet: the file that proves it, and what of it does
    "docs/article.md": ("tests/models/test_article.py", "test_numpy_and_torch_agree"),
    "make setup": (CI, "make check test"),
    "make test": (CI, "make check test"),
    "make check test": (CI, "make check test"),
    "make repro": (CI, "make repro"),
    "make init DATA=photos": ("tests/cli/test_init.py", "test_make_hands_the_pictures_on"),
    "make retrain": (f"{HERE}/test_retraining.py", OFFERED),
    "make offer": (f"{HERE}/test_retraining.py", OFFERED),
    "make request": (f"{HERE}/test_retraining.py", OFFERED),
    "docker compose --file docs/use/compose.yaml up --build --detach": COMPOSE,
    **dict.fromkeys(
        (
            "dvc remote add --default store s3://team/dvc",
            "dvc remote modify store endpointurl http://localhost:8333",
        ),
        MONTH,
    ),
    "rm -rf .imagetrail": (PIPELINE, FORCED),
    "dvc repro --force": (PIPELINE, FORCED),
    "imagetrail ui": (f"{HERE}/test_docs.py", "test_the_ui_answers_at_the_address_that_it_says"),
    "imagetrail review": REVIEWED,
    'imagetrail review --no-open --port 5090 --by "Ada Byron"': REVIEWED,
    **dict.fromkeys(
        ("imagetrail demo", "imagetrail demo --no-open --port 8095 --unsure 0.8"), TRIED
    ),
    "imagetrail demo --static page/": STATIC,
    **dict.fromkeys(
        (
            "imagetrail serve",
            "imagetrail serve --port 8085 --top 5 --unsure 0.8 --seconds 5",
            "curl --data-binary @shoe.jpg localhost:8080/predict",
            "curl -F file=@shoe.jpg -F file=@pictures/0.png localhost:8080/predict",
        ),
        SERVED,
    ),
    **dict.fromkeys((f"docker build -t {IMAGE} .", CONTAINER), CONTAINED),
    "imagetrail verify --reproduce": ("tests/release/test_verification.py", REPRODUCED),
    "torchrun --nproc-per-node 2 -m imagetrail.cli train": (f"{HERE}/test_exact.py", TORCHRUN),
    **{
        f"torchrun --nnodes 2 --node-rank {rank} --master-addr host-0 --master-port 29500 "
        "-m imagetrail.cli train": (f"{HERE}/test_exact.py", HOSTS)
        for rank in range(2)
    },
    "IMAGETRAIL_BACKEND=ray RAY_ADDRESS=ray-head:6379 dvc repro tune compare": (
        f"{HERE}/test_cluster.py",
        RAY,
    ),
    "IMAGETRAIL_OPTUNA_STORAGE=postgresql+pg8000://user@host/optuna dvc repro tune": (
        "tests/stages/tune/test_tune.py",
        POSTGRESQL,
    ),
    "IMAGETRAIL_MIRROR=/srv/mirror dvc repro fetch": (
        "tests/data/test_sources.py",
        "test_a_local_folder_comes_before_every_mirror",
    ),
    "mlflow models serve -m models:/fashion-mnist@champion --env-manager local --port 5001": (
        SERVING,
        REQUEST,
    ),
    "reply = json.load(urllib.request.urlopen(request))": (SERVING, REQUEST),
}
SAYS = {  # command: what it prints
    "imagetrail predict shoe.jpg pictures/ --top 3": "pictures/4.png",
    "imagetrail predict - --format json < shoe.jpg": '"file": "-"',
    "imagetrail drift new-pictures/ --alpha 0.01": "no drift",
    "imagetrail suggest new-pictures/ --count 50": "50  new-pictures/",
    "imagetrail promote": "number 2 of the ledger",
    "imagetrail rollback": "number 3 of the ledger",
    "imagetrail verify": "every byte is what dvc.lock, DVC's cache and the ledger say",
    "imagetrail publish": "(0 new runs)",
    "grep margin artifacts/evaluate/metrics.json": '"margin_low"',
}


@pytest.fixture(scope="module")
def prepared(repo: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A user's project: the pipeline has run, a poor champion is there, and pictures to look at."""
    made = repo.copy(tmp_path_factory.mktemp("prepared") / "repo")
    made.take("tests", "pyproject.toml", "Makefile", "pipeline.mk", ".pre-commit-config.yaml")
    _crown(made)
    made.dvc("repro", "--quiet")
    made.imagetrail("publish")
    made.commit("first")
    (made.root / ".venv").symlink_to(sys.prefix)
    test = samples.read(made.root / "data/split/test")
    for folder, count in (
        ("pictures", 5),
        ("new-pictures", 200),
        ("photos/a", 20),
        ("photos/b", 20),
    ):
        (made.root / folder).mkdir(parents=True)
        for number in range(count):
            picture = Image.fromarray(test.images[number].squeeze())
            picture.save(made.root / folder / f"{number}.png")
    shutil.copy(made.root / "pictures/0.png", made.root / "shoe.jpg")
    return made


def _crown(project: Project) -> None:
    """Makes a model that guesses the champion."""
    classes = [str(digit) for digit in range(10)]
    poor = tiny_onnx.write(project.root / paths.CHAMPION_MODEL, tiny_onnx.noise(classes))
    shutil.copy(project.root / "artifacts/evaluate/metrics.json", poor.parent)
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), poor.parent / "trained_on.parquet")
    valid = samples.read(project.root / "data/split/valid")
    guesses, features = onnx_model.load(poor).run(valid.images)
    counts = np.bincount(guesses.argmax(1), minlength=10)
    np.savez(poor.parent / "reference.npz", features=features, counts=counts)
    project.dvc("add", "--quiet", str(paths.CHAMPION_FOLDER))
    facts = {"model": hashing.sha256(poor), "data": "", "decision": "", "reason": "to begin with"}
    ledger.append(project.root, action="promote", champion=ledger.tracked(project.root), **facts)


@pytest.fixture
def project(prepared: Project, tmp_path: Path) -> Project:
    """A copy of that project that runs its own code."""
    made = prepared.copy(tmp_path / "repo")
    made.environment["PYTHONPATH"] = str(made.root / "src")
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if pages.blocks(page) and page not in ELSEWHERE]
)
def test_what_a_page_shows_works(project: Project, page: str) -> None:
    for block in pages.blocks(page):
        if block.title:
            pages.write(block, project)
        elif block.language == "sh":
            commands = [command for command in block.commands if command not in ELSEWHERE]
            printed = project.run("sh", "-ec", "\n".join(commands))
            assert all(SAYS.get(command, "") in printed for command in commands)
        elif block.language == "python" and not ELSEWHERE.keys() & set(block.code.splitlines()):
            project.run(sys.executable, "-c", block.code)


@pytest.mark.slow
def test_the_ui_answers_at_the_address_that_it_says(project: Project) -> None:
    port = free_port()
    process = project.start("imagetrail", "ui", "--port", str(port))
    try:
        assert process.stdout
        address = process.stdout.readline().split()[2]
        wait_for(lambda: answers(port), process)
        assert urllib.request.urlopen(address).status == 200
    finally:
        kill(process)


def test_what_is_proven_elsewhere_is_shown_and_proven_there() -> None:
    shown = {line for page in PAGES for block in pages.blocks(page) for line in _lines(block)}
    assert ELSEWHERE.keys() <= shown | {*PAGES} and SAYS.keys() <= shown
    unproven = [
        command
        for command, (file, proof) in ELSEWHERE.items()
        if (proof if file == CI else f"def {proof}(") not in (ROOT / file).read_text()
    ]
    assert not unproven


def _lines(block: Block) -> list[str]:
    return block.commands if block.language == "sh" else block.code.splitlines()


@pytest.mark.parametrize("page", [*PAGES, "SECURITY.md", "CHANGELOG.md"])
def test_every_file_that_a_page_links_to_is_there(page: str) -> None:
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert not [target for target in targets if not ((ROOT / page).parent / target).exists()]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900


def test_every_environment_variable_that_the_code_reads_is_documented() -> None:
    """A name in capitals with an underscore is taken for one, in a module that reads any."""
    page = (ROOT / "docs/reference/environment.md").read_text()
    documented = {*re.findall(r"`([A-Z_]+)`", page), "GIT_AUTHOR_IDENT"}  # of `git var`
    for file in (ROOT / "src").rglob("*.py"):
        text = file.read_text()
        names = set(re.findall(r'"([A-Z]+(?:_[A-Z]+)+)"', text)) if "os.environ" in text else set()
        assert names <= documented, file
    used = "".join(file.read_text() for file in (ROOT / "tests").rglob("*.py"))
    assert set(re.findall(r"(?<!_)IMAGETRAIL_[A-Z_]*[A-Z]", used)) <= documented
