"""The hooks of docs/hooks, each in a real build of a few pages."""

from collections.abc import Callable
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from project import ROOT

HOOKS = ROOT / "docs/hooks"
Build = Callable[..., Path]


@pytest.fixture
def build_site(tmp_path: Path) -> Build:
    """`build_site("mathml", **{"index": markdown})` gives the folder of the built site."""

    def build_pages(hook: str, **pages: str) -> Path:
        for name, markdown in pages.items():
            path = tmp_path / "docs" / f"{name}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(markdown)
        (tmp_path / "mkdocs.yml").write_text(
            f"site_name: x\nplugins: []\nhooks: [{HOOKS / hook}.py]\n"
            "markdown_extensions: [fenced_code]\nuse_directory_urls: false\n"
        )
        config = load_config(str(tmp_path / "mkdocs.yml"), strict=True)
        build(config)
        return Path(config.site_dir)

    return build_pages


def test_formulas_become_mathml_and_code_stays_as_it_is(build_site: Build) -> None:
    markdown = (
        "In $x_i < y$ and `$PWD` for \\$5 and $6:\n\n"
        "$$\n\\sum_{c,u} w_{c,u}\n$$\n\n"
        "```sh\necho $HOME$PATH\n$$x$$\n```\n\n    $y$\n"
    )
    page = (build_site("mathml", index=markdown) / "index.html").read_text()
    assert page.count("<math ") == 2
    assert "<mi>x</mi><mi>i</mi></msub><mo>&#x0003C;</mo><mi>y</mi>" in page
    assert '<div style="overflow-x: auto' in page and "<munder>" in page
    for text in ("<code>$PWD</code>", "for $5 and $6", "$HOME$PATH\n$$x$$", "<code>$y$"):
        assert text in page


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("x^2^3", "cannot read the formula x^2^3"),
        (r"\foo x", r"cannot read \foo in the formula \foo x"),
        ("a &= b", "cannot read & in the formula a &= b"),
    ],
)
def test_a_formula_that_cannot_be_read_ends_the_build_with_page_and_formula(
    build_site: Build, caplog: pytest.LogCaptureFixture, formula: str, message: str
) -> None:
    with pytest.raises(Abort):
        build_site("mathml", index=f"${formula}$\n")
    page, error = caplog.messages
    assert page == "Error reading page 'index.md':" and error.startswith(message)


def test_a_linked_source_file_has_a_page(build_site: Build, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "one.py").write_text("ANSWER = 42\n")
    site = build_site(
        "source_pages",
        index="[one](../src/one.py)\n",
        **{"design/rooms": "[one](../../src/one.py)\n"},
    )
    assert "ANSWER = 42" in (site / "src" / "one.py.html").read_text()
    assert 'href="src/one.py.html"' in (site / "index.html").read_text()
    assert 'href="../src/one.py.html"' in (site / "design" / "rooms.html").read_text()


def test_a_link_to_no_source_file_ends_the_build_with_one_line(
    build_site: Build, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Abort):
        build_site("source_pages", index="[gone](../src/gone.py)\n")
    assert caplog.messages == ["index.md: links to src/gone.py, which does not exist"]
