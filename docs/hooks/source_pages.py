"""A page for each source file that a page links to, so that the site needs no code host.

Pages link as files do, `../src/imagetrail/models/networks.py`: that works in an editor as well.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

LINK = re.compile(r"\]\(\.\./((?:\.\./)*)((?:src|tests|examples)/[\w/]+\.(?:py|sbatch|yaml))\)")
LANGUAGES = {".py": "python", ".sbatch": "bash", ".yaml": "yaml"}
TEMPLATE = "---\nsearch: {{exclude: true}}\n---\n# `{path}`\n\n````{language}\n{code}````\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Raises PluginError for a link to a file that is not there."""
    for page in list(files.documentation_pages()):
        for path in {found[2] for found in LINK.finditer(page.content_string)}:
            source = Path(config.config_file_path).parent / path
            if not source.is_file():
                raise PluginError(f"{page.src_uri}: links to {path}, which does not exist")
            if not files.get_file_from_path(f"{path}.md"):
                files.append(_source_page(config, path, source.read_text()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    return LINK.sub(r"](\1\2.md)", markdown)


def _source_page(config: MkDocsConfig, path: str, code: str) -> File:
    content = TEMPLATE.format(path=path, language=LANGUAGES[Path(path).suffix], code=code)
    return File.generated(
        config, f"{path}.md", content=content, inclusion=InclusionLevel.NOT_IN_NAV
    )
