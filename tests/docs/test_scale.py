"""The page on ten million pictures says what was simulated, and nothing older."""

import json

from project import ROOT


def test_the_page_shows_the_tables_that_the_script_wrote() -> None:
    about = json.loads((ROOT / "benchmarks/results/scale.json").read_text())["about"]
    tables = [part for part in about.split("\n\n") if part.startswith("|")]
    page = (ROOT / "docs/design/scale.md").read_text()
    assert len(tables) == 2 and all(table in page for table in tables)
