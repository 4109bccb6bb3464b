"""Formulas in pages, `$…$` and `$$…$$`, become MathML at build: no script, no network."""

import html
import re

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
BLOCK = "overflow-x: auto; overflow-y: hidden; padding: 0.5em 0"  # a narrow page scrolls it


def on_config(config: MkDocsConfig) -> None:
    """Lets arithmatex find the formulas: it knows code and escaped dollars."""
    config.markdown_extensions.append("pymdownx.arithmatex")
    config.mdx_configs["pymdownx.arithmatex"] = {"generic": True}


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Raises PluginError for a formula that cannot be read; mkdocs names the page."""
    return FORMULA.sub(_mathml, content)


def _mathml(found: re.Match[str]) -> str:
    latex = html.unescape(found[2]).strip()
    inline = found[1] == "span"
    try:
        mathml = convert(latex, display="inline" if inline else "block")
    except Exception as error:  # its errors have no class of their own in common
        raise PluginError(f"cannot read the formula {latex} ({error!r})") from error
    unknown = re.search(r"<mi>(\\\w+|&)</mi>", mathml)  # which latex2mathml lets through
    if unknown:
        raise PluginError(f"cannot read {unknown[1]} in the formula {latex}")
    return mathml if inline else f'<div style="{BLOCK}">{mathml}</div>'
