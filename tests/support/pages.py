"""The code that README and docs show, block by block."""

import re
from dataclasses import dataclass

import yaml
from project import ROOT, Project

FENCE = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
FILES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [file.relative_to(ROOT).as_posix() for file in FILES]


@dataclass(frozen=True)
class Block:
    language: str
    title: str  # which file it goes to, and where there; empty: it is run
    code: str

    @property
    def commands(self) -> list[str]:
        """The lines of a block of shell, without comments."""
        lines = [re.sub(r"\s*(?:^|\s)#\s.*", "", line) for line in self.code.splitlines()]
        return [line for line in lines if line]


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in FENCE.findall((ROOT / page).read_text())]


def write(block: Block, project: Project) -> None:
    """Does with a titled block what its title asks for."""
    name, _, where = block.title.partition(", ")
    path = project.root / name
    if name == "params.yaml":
        path.write_text(yaml.safe_dump(_merged(yaml.safe_load(path.read_text()), block.code)))
    elif name == "dvc.yaml":
        path.write_text(path.read_text() + block.code.removeprefix("stages:\n"))
    elif where:
        path.write_text(_inserted(path.read_text(), block.code, where))
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.code)


def _merged(params: dict[str, object], change: object) -> dict[str, object]:
    """Params with those of a block, which may also be an inner part of one."""
    for key, value in (yaml.safe_load(change) if isinstance(change, str) else change).items():
        old = params.get(key)
        params[key] = (
            _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
        )
    return params


def _inserted(text: str, code: str, where: str) -> str:
    """The text of a module with code `among the imports`, `above TABLE` or `in TABLE`."""
    how, table = where.split()[0], where.split()[-1]
    anchor = "from imagetrail" if how == "among" else rf"{table}\b[^=]*= \{{"
    found = re.search(f"^{anchor}", text, re.MULTILINE)
    assert found, f"there is no {where}"
    if how != "in":
        return f"{text[: found.start()]}{code}\n{text[found.start() :]}"
    one_line = "}" in text[found.end() : text.index("\n", found.end())]
    end = text.index("}" if one_line else "\n}", found.end())
    entry = f", {code.strip()}" if one_line else f"\n{code.rstrip()}"
    return text[:end] + entry + text[end:]
