"""The page: whole, safe, small, equal for equal results, and true to the pictures."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import report_files
from PIL import Image

from imagetrail.cli.main import app
from imagetrail.stages.report import answers, confusions, facts, stage, svg, words
from imagetrail.stages.report.pictures import GAP, THUMB, Album
from imagetrail.stages.report.svg import Frame
from imagetrail.tracking import run_facts

PAGE, SHORT = Path("artifacts/report/index.html"), Path("artifacts/report/report.md")


class Parsed(HTMLParser):
    """Ids, links within the page, and pictures without a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.mute = 0
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        self.sources += [found["src"] or ""] if "src" in found else []
        self.mute += tag == "img" and not found.get("alt")
        self.scripts += tag == "script"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """`make()` makes the page of a small project, in which the test runs, and returns it."""
    report_files.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return made


def made() -> str:
    stage.run()
    return PAGE.read_text()


def test_every_link_leads_somewhere_and_every_picture_has_a_text(make: Callable[[], str]) -> None:
    page = Parsed(make())
    assert len(page.ids) == len(set(page.ids)) and page.mute == 0
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "verdict" in page.ids and len([link for link in page.links if "pair-" in link]) > 5


def test_the_page_needs_no_other_file_but_for_the_times(make: Callable[[], str]) -> None:
    page = make()
    sources = [source for source in Parsed(page).sources if not source.startswith("data:")]
    assert sources == ["run.js"]
    assert "url(" not in page and "<link" not in page and "@import" not in page


def test_names_are_shown_as_they_are_and_run_as_nothing(make: Callable[[], str]) -> None:
    page = make()
    assert Parsed(page).scripts == 2  # run.js and the page's own
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in page
    for name in ("猫", "नमस्ते", "=1+1", "$5_to_$10", "e&#34;f", "a&lt;b&gt;.png"):
        assert name in page
    assert "<script" not in SHORT.read_text()


def test_equal_results_make_an_equal_page_whatever_the_clock_says(make: Callable[[], str]) -> None:
    first = make()
    timing = Path("artifacts/train/timing.json")
    timing.write_text(timing.read_text().replace("90.0", "123.0"))
    assert make() == first
    assert "123.0" in Path("artifacts/report/run.js").read_text() and "123.0" not in first


def test_the_published_page_has_the_times_inside(make: Callable[[], str]) -> None:
    make()
    links = run_facts.links("sqlite:///x", "1", "<run>")
    with run_facts.page(Path(), links) as page:
        text = page.read_text()
    assert 'run.js"></script>' not in text and Parsed(text).scripts == 2
    script = re.findall(r"window\.imagetrailRun = (.*);", text)[0]
    assert "<" not in script  # what would end the script early
    told = json.loads(script)
    assert told["seconds"] == 90.0 and told["watt_hours"] > 0
    assert next(iter(told["links"].values())).endswith("/runs/<run>")


@pytest.mark.parametrize("file", sorted(set(facts.FILES.values())))
def test_without_a_file_the_page_says_which_stage_makes_it(
    make: Callable[[], str], file: str
) -> None:
    Path("artifacts", file).unlink()
    page = make()
    if file not in QUIET:
        assert f"dvc repro {file.split('/')[0]}" in page


QUIET = (  # without these a table or a sentence is left out
    "audit/label_errors.csv",
    "compare/recipes.json",
    "crossvalidate/metrics.json",
    "evaluate/confusion.csv",
    "evaluate/coverage.csv",
    "evaluate/robustness.csv",
    "evaluate/slices.csv",
    "explain/curves.csv",
    "export/trained_on.parquet",
    "train/activity.csv",
    "train/metrics.json",
    "train/recipe.json",
)


def test_with_no_results_at_all_there_is_a_page_all_the_same(make: Callable[[], str]) -> None:
    shutil.rmtree("artifacts")
    shutil.rmtree("data")
    page = make()
    assert "No network is trained yet" in page and "dvc repro gate" in page
    assert SHORT.read_text().startswith("## wear")


def test_the_top_answers_what_one_asks_first(make: Callable[[], str]) -> None:
    top = make().split("<nav")[0]
    assert "Make it the champion with <code>imagetrail promote</code>" in top
    assert "+10.00 points of top-1 against the champion (95 %: +5.00 … +15.00)" in top
    assert "猫: 10.00 % of its 25 test pictures are recognised" in top
    assert "No gain was shown: augmented had no shown effect (−0.40 points" in top


def test_what_comes_next_are_commands_that_there_are(make: Callable[[], str]) -> None:
    top = make().split("<nav")[0]
    assert "<li><code>imagetrail promote</code> makes it the champion" in top
    gates = [{"decision": name, "reason": ""} for name in answers.NEXT]
    gates.append({"decision": "HOLD", "reason": answers.CHAMPION})
    said = [command for gate in (None, *gates) for command, _ in answers.steps(gate)]
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    ours = {command.split()[1] for command in said if command.startswith("imagetrail ")}
    assert len(ours) > 5 and ours <= known
    assert {command for command in said if not command.startswith("imagetrail ")} == {"make repro"}
    assert answers.steps(gates[-1]) != answers.steps(gates[1])


def test_the_size_of_pictures_is_told_and_the_day_is_left_to_the_clock(
    make: Callable[[], str],
) -> None:
    top = make().split("<nav")[0]
    assert "each of 8 × 8 pixels, grey." in top and '<span id="date"></span>' in top
    assert '"date": "1970-01-01"' in Path("artifacts/report/run.js").read_text()


def test_the_size_that_the_network_sees_is_told_where_it_enlarges(make: Callable[[], str]) -> None:
    path = Path("artifacts/train/recipe.json")
    recipe = json.loads(path.read_text()) | {"enlarge": 3}
    path.write_text(json.dumps(recipe))
    assert "8 × 8 pixels, grey, which the network sees at 24 × 24." in make()


def test_each_figure_names_its_file_and_each_chapter_the_rest_in_a_line(
    make: Callable[[], str],
) -> None:
    page = make()
    good = page.split('<section id="good">')[1].split("</section>")[0]
    assert '<span class="file">evaluate/coverage.csv</span>' in good
    assert '<span class="file">evaluate/mistakes.png</span>' in good
    (line,) = re.findall(r'<p class="file">(.*?)</p>', good)
    assert line.split(": ")[1].split(" · ")[0] == "evaluate/metrics.json" and "slices.csv" in line
    assert page.count('<p class="file">') == 8


def test_facts_that_are_drawn_are_a_table_only_behind_the_drawing(make: Callable[[], str]) -> None:
    page = make()
    for label in ("Arms of remedies", "Arms of networks", "Every class"):
        before = page.split(f'aria-label="{label}"')[0]
        assert before.count("<details") > before.count("</details>"), label
        assert page.count(f'<table class="sort" aria-label="{label}">') == 1


def test_label_and_answer_are_told_in_one_way(make: Callable[[], str]) -> None:
    page = make()
    assert "a picture with the label" in page and " → " in page
    assert "label ↓" not in page and not re.search(r"figcaption>[^<]*taken for", page)


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ("PROMOTE", "Yes. Make it the champion with `imagetrail promote`"),
        ("HOLD", "keep the champion"),
        ("REJECT", "No: keep the champion"),
    ],
)
def test_each_decision_says_what_to_do(decision: str, said: str) -> None:
    gate = {"decision": decision, "reason": "", "champion": "d"}
    assert said in answers.verdict(gate)
    assert "there is no champion" in answers.verdict({"decision": "HOLD", "reason": ""})
    assert "could not be compared" in answers.change(gate)
    asked = {"name": "top1_low", "value": 0.9292, "bound": 0.5}
    first = answers.change(gate | {"champion": None, "checks": [asked]})
    assert "no champion yet" in first and "50 % or more; this one has 92.92 % at least" in first
    same = gate | {"reason": "the challenger is the champion"}
    assert "nothing to do" in answers.verdict(same)


def test_what_guessing_is_right_on_and_what_changes_pictures_is_told() -> None:
    classes = [{"class": "good", "images": 30}, {"class": "cracked", "images": 10}]
    assert answers.by_guessing(classes) == "75.00 %"
    assert "(flip, shift)" in answers.changed({"flip": True, "shift": 1, "zoom": 0})
    assert answers.changed({"flip": False, "shift": 0}) == ""


def test_what_was_not_chosen_is_explained(make: Callable[[], str]) -> None:
    page = make()
    assert "<code>recipe.model: resnet</code>" in page and "by 1.00 points" in page
    assert "The best trial of the search had synthetic 0.05; the training has 0" in page
    assert "The loss on train is the higher one because" in page
    assert "No trial has a better score or a lower cost than the best one" in page
    assert "99 of the 200 test pictures, corrupted" in page


def test_no_number_has_a_hyphen_for_a_minus_and_no_p_is_zero(make: Callable[[], str]) -> None:
    shown = re.sub(r"<(style|script)[^>]*>.*?</\1>|<[^>]*>", " ", make(), flags=re.S)
    assert not re.findall(r"(?<=[\s(])-\d", shown.replace("=1+1", ""))
    assert "&lt; 0.001" in shown and not re.search(r"p (?:=|of harm) 0\.000", shown)
    assert words.points(-0.00001) == "0.00" and words.points(-0.0149) == "−1.49"


def test_a_strip_shows_the_very_pictures_of_the_confusion() -> None:
    pixels = np.zeros((2, 28, 28, 1), np.uint8)
    pixels[0, :14], pixels[1, 14:] = 255, 255  # the upper half, the lower half
    address = Album().strip(list(pixels)) or ""
    drawn = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("L")
    tiles = np.asarray(drawn, float)[:THUMB]
    first, second = tiles[:, :THUMB], tiles[:, THUMB + GAP : 2 * THUMB + GAP]
    half = THUMB // 2
    assert first[:half].mean() > 200 > 50 > first[half:].mean()
    assert second[half:].mean() > 200 > 50 > second[:half].mean()


def test_an_album_that_is_full_takes_no_more() -> None:
    album = Album(room=2000)
    noise = np.random.default_rng(0).integers(0, 256, (8, 56, 56, 3), np.uint8)
    assert album.strip(list(noise)) is None
    assert album.strip(list(noise[:1, :8, :8])) is not None


def test_of_many_classes_the_matrix_has_those_with_most_mistakes() -> None:
    classes = [f"c{i}" for i in range(50)]
    rows = [{"label": name, "predicted": name, "images": "9"} for name in classes]
    rows += [{"label": "c40", "predicted": "c3", "images": "7"}]
    found = confusions.find(rows, classes)
    assert {"c3", "c40"} <= set(found.names) and len(found.names) == confusions.CLASSES
    assert found.left_out == 30 and found.taken_for == {"c40": "c3 (7)"}
    assert found.shade("c40", "c3") == confusions.DEEPEST > 0


def test_charts_put_values_where_their_axes_say() -> None:
    frame = Frame((0, 10), (0, 1))
    left, bottom = frame.place(0, 0)
    right, top = frame.place(10, 1)
    assert left < right and top < bottom
    assert frame.place(5, 0.5) == ((left + right) / 2, (top + bottom) / 2)
    assert svg.ticks(0, 1) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert svg.ticks(-1.3, 0.4, 4) == [-1.0, -0.5, 0.0]
    assert "&lt;b&gt;" in svg.dot(frame, 1, 1, "main", "<b>")


@pytest.mark.slow
def test_a_thousand_classes_and_a_hundred_thousand_pictures_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_files.write(tmp_path, [f"class {i}" for i in range(1000)], 100_000)
    monkeypatch.chdir(tmp_path)
    page = made()
    assert len(page.encode()) < 5_000_000
    assert "class 999</td>" in page and "980 more are in the table above" in page


def test_only_maps_that_passed_are_drawn_and_what_failed_is_listed(make: Callable[[], str]) -> None:
    page = make().split('<section id="look">')[1].split("</section>")[0]
    assert "1 of 2 methods passed" in page and "27.0 points of probability more" in page
    assert "Maps by occlusion" in page and "Maps by grad cam" not in page
    assert "<td>grad cam</td><td>failed</td>" in page and "A mean map for each class" in page
    assert "a shortcut, unless what you look for is there" in page
    assert "look for a shortcut around it" in page


def test_deletion_and_insertion_are_drawn_with_their_tables(make: Callable[[], str]) -> None:
    page = make().split('<section id="look">')[1].split("</section>")[0]
    open_part, folded = page.split("<summary>Curves of grad cam</summary>")
    assert open_part.count('class="line main"') == folded.count('class="line main"') == 2
    assert "Deletion, occlusion: what a map names first is taken away" in open_part
    assert "another picture&#x27;s, 25 % taken away: 60.0" in open_part  # under the pointer
    row = "<tr><td>25 %</td><td>50.0 %</td><td>60.0 %</td><td>70.0 %</td></tr>"
    assert open_part.count(row) == 2


def test_where_no_method_passed_the_page_says_so_and_draws_no_map(make: Callable[[], str]) -> None:
    make()
    scores = json.loads(Path("artifacts/explain/scores.json").read_text())
    for figures in scores["methods"].values():
        figures["passed"] = False
    changed = json.dumps(scores | {"method": None, "agreement": []})
    Path("artifacts/explain/scores.json").write_text(changed)
    shutil.rmtree("artifacts/explain/maps")
    page = make().split('<section id="look">')[1].split("</section>")[0]
    assert "No method passed" in page and "<code>explain.pictures</code>" in page
    assert "<img" not in page and "agree by" not in page


def test_the_verdict_tells_its_reading_and_what_would_settle_it(make: Callable[[], str]) -> None:
    page = make().split('<section id="verdict">')[1].split("</section>")[0]
    assert "challenger number 3 that these test pictures judge" in page and "1.2 %" in page
    assert "<td>challenger is better</td><td>all</td><td>about 4,200</td>" in page
    assert "<td>&lt;b&gt;</td><td>no number would: it is not ahead on these</td>" in page


def test_where_the_two_looked_is_shown_and_why_one_has_no_map(make: Callable[[], str]) -> None:
    page = make().split('<section id="verdict">')[1].split("</section>")[0]
    assert "where each of the two looked for its own answer" in page and "<img" in page
    assert "No map of the champion. Such maps failed &lt;their&gt; test." in page
    gate = json.loads(Path("artifacts/gate/decision.json").read_text())
    gate["no_map"]["new model"] = "Such maps failed."
    Path("artifacts/gate/decision.json").write_text(json.dumps(gate))
    page = make().split('<section id="verdict">')[1].split("</section>")[0]
    assert "where each of the two looked" not in page
    assert "No map of the new model. Such maps failed." in page


def test_a_first_reading_costs_nothing() -> None:
    told = answers.reading({"reading": 1, "alpha_spent": 0.025, "fresh_due": False})
    assert told == (
        "It is the first challenger that these test pictures judge: "
        "a verdict may err with a chance of 2.5 %."
    )


def test_many_readings_ask_for_new_pictures() -> None:
    told = answers.reading({"reading": 11, "alpha_spent": 0.001, "fresh_due": True})
    assert told.endswith("New test pictures are due.")
