"""The reference, written from the code at each build, and the pages that stand outside of docs."""

import types
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo
from typer.core import TyperArgument, TyperOption

from imagetrail.base import pipeline
from imagetrail.base.errors import UserError
from imagetrail.base.params import check
from imagetrail.cli.main import STAGES, app
from imagetrail.cli.params import SECTIONS
from imagetrail.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
ELSEWHERE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that stand outside of docs, and the pictures of the benchmarks."""
    for name in ELSEWHERE:
        text = (ROOT / name).read_text().replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    for picture in (ROOT / "benchmarks/results").glob("*.png"):
        name = picture.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Appends what is generated; leads links to those pages to where they are in the site."""
    for name in ELSEWHERE:
        markdown = markdown.replace(f"../{name}", name)
    write = WRITERS.get(page.file.src_uri)
    return "\n".join([markdown, *write()]) if write else markdown


def params() -> Iterator[str]:
    """A section of params.yaml each, with a row a field."""
    for name, kind in SECTIONS.items():
        section = isinstance(kind, type) and issubclass(kind, BaseModel)
        yield f"\n## {name}\n"
        yield f"{_text(kind.__doc__)}\n" if section else ""
        yield "| key | type | default | meaning |"
        yield "|---|---|---|---|"
        yield from _rows(kind, "") if section else [_row(name, FieldInfo.from_annotation(kind))]


def _rows(kind: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        if kind is Recipe and name == "epochs":  # each stage has its own
            continue
        yield _row(f"{prefix}{name}", field)
        for inner, named in _sections(field.annotation):
            yield from _rows(inner, f"{prefix}{name}.{'<name>.' if named else ''}")


def _row(key: str, field: FieldInfo) -> str:
    cells = (f"`{key}`", _kind(field), _default(field), field.description or "")
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _sections(annotation: Any) -> Iterator[tuple[type[BaseModel], bool]]:
    """The sections within a field, and whether they are values of a mapping by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, False
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _sections(part)
    elif get_origin(annotation) is dict:
        for inner, _ in _sections(get_args(annotation)[1]):
            yield inner, True


def _kind(field: FieldInfo) -> str:
    """Its type, or the names there are to choose from, and its bounds."""
    bounds = [
        f"{sign} {getattr(rule, name):,}"
        for rule in (*field.metadata, *_rules_within(field.annotation))
        for name, sign in BOUNDS.items()
        if hasattr(rule, name)
    ]
    return ", ".join([_choices(field) or _type(field.annotation), *bounds])


def _rules_within(annotation: Any) -> Iterator[Any]:
    """Those of a part of a union or of the values in a list."""
    for part in get_args(annotation):
        for about in get_args(part) if get_origin(part) is Annotated else ():
            yield from about.metadata if isinstance(about, FieldInfo) else ()


def _choices(field: FieldInfo) -> str:
    """What the error for a wrong name would offer."""
    rules = [rule for rule in field.metadata if isinstance(rule, AfterValidator)]
    kind: Any = Annotated[field.annotation, *rules] if rules else field.annotation
    try:
        check(kind, "", "")
    except UserError as error:
        _, offered, names = str(error).splitlines()[0].partition("choose from ")
        unset = " or null" if type(None) in get_args(field.annotation) else ""
        return f"{names}{unset}" if offered else ""
    return ""


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in parts)
    if origin is Literal:
        return " or ".join(str(part) for part in parts)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(str(member.value) for member in annotation)
    if origin is list:
        return f"list of {_type(parts[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    names = {type(None): "null", str: "text", Any: "any value", Path: "path"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return f"`{'null' if value is None else str(value).lower()}`"


def command_line() -> Iterator[str]:
    """A section a command, stages last, as they take no arguments."""
    commands = typer.main.get_group(app).commands
    for name, command in commands.items():
        if name in STAGES:
            continue
        yield f"\n## imagetrail {name}\n"
        yield f"{_text(command.help)}\n"
        if command.params:
            yield "| argument | default | meaning |"
            yield "|---|---|---|"
        for param in cast("list[TyperArgument | TyperOption]", command.params):
            shown = param.opts[0] if param.opts[0].startswith("-") else param.name.upper()
            default = "" if param.default is None else f"`{str(param.default).lower()}`"
            default = "required" if param.required else default
            yield f"| `{shown}` | {default} | {_cell(param.help or '')} |"
    yield "\n## Stages\n"
    yield "| command | does |"
    yield "|---|---|"
    for name, text in STAGES.items():
        yield f"| [`imagetrail {name}`](stages.md#{name}) | {text} |"


def stages() -> Iterator[str]:
    """A section a stage: what it reads, of which rooms its code is, what it writes."""
    for name, stage in pipeline.stages(ROOT).items():
        rooms = [dep for dep in stage.deps if dep.startswith("src/")]
        read = [dep for dep in stage.deps if dep not in rooms]
        inside = [room.removeprefix("src/imagetrail/") for room in rooms]
        in_git = [out for out in stage.outs if out in stage.uncached]
        yield f"\n## {name}\n"
        yield f"{STAGES[name]}\n"
        yield "| | |"
        yield "|---|---|"
        yield f"| reads | {_listed(read)} |"
        yield f"| params | {_listed(stage.params)} |"
        yield f"| rooms | {_listed(inside)} |"
        yield f"| writes, kept by DVC | {_listed(out for out in stage.outs if out not in in_git)} |"
        yield f"| writes, kept by Git | {_listed(in_git)} |"


def _listed(names: Any) -> str:
    return "<br>".join(f"`{name}`" for name in names) or "–"


def _text(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").strip().splitlines())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


WRITERS: dict[str, Callable[[], Iterator[str]]] = {
    "reference/params.md": params,
    "reference/command-line.md": command_line,
    "reference/stages.md": stages,
}
