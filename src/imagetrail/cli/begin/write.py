"""params.yaml with other values: its comments kept, written whole or not at all."""

import io
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.cli.params import check_all
from imagetrail.release import git_dvc

NULL = "tag:yaml.org,2002:null"
COLUMN = 24  # of the comments


def write(path: Path, values: Mapping[str, Any], *, force: bool = False) -> bool:
    """Sets values by dotted keys; False if that changes nothing.

    Raises UserError, and writes nothing, if the new params would be wrong, or if the file has
    changes of the user's that Git does not have, unless `force`.
    """
    before = path.read_text()
    after = changed(before, values)
    if after == before:
        check_all(path)
        return False
    if not force and _edited(path, before):
        remedy = "commit it, or add --force to write over them"
        raise UserError(f"{path} has changes that are not in git; {remedy}")
    with replacing(path) as temporary:
        temporary.write_text(after)
        try:
            check_all(temporary)
        except UserError as fault:
            raise UserError(str(fault).replace(str(temporary), str(path))) from None
    return True


def _edited(path: Path, text: str) -> bool:
    """Whether the text is neither what Git has nor what the package came with."""
    known = git_dvc.git(Path(), "show", f"HEAD:./{path}")
    if known is not None and known.strip() == text.strip():
        return False
    ours = resources.files("imagetrail") / "scaffold" / "params.yaml"
    with resources.as_file(ours) as default:
        return default.samefile(path) or default.read_text() != text


def changed(text: str, values: Mapping[str, Any]) -> str:
    """The text of params.yaml with these values by dotted keys."""
    yaml = YAML()
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar(NULL, "null")
    )
    tree = yaml.load(text)
    for key, value in values.items():
        *inside, name = key.split(".")
        node = tree
        for part in inside:
            node = node[part]
        _put(node, name, value)
    out = io.StringIO()
    yaml.dump(tree, out)
    # a blank line before a section belongs to the value before it: it may have gone with that, or
    # a new value may have come after it
    joined = re.sub(r"\n+(?= )", "\n", out.getvalue())
    return re.sub(r"\n+(?=\w+:)", "\n\n", joined)


def _put(node: CommentedMap, key: str, value: Any) -> None:
    """Sets what differs, so that everything else keeps its form and its comment."""
    old = node.get(key)
    if isinstance(value, Mapping) and isinstance(old, CommentedMap):
        for name in [name for name in old if name not in value]:
            del old[name]
        for name, inner in value.items():
            _put(old, name, inner)
    elif key not in node or old != value:
        node[key] = _form(value)
    comment = node.ca.items.get(key, [None] * 4)[2]
    if comment and comment.start_mark:
        comment.start_mark.column = COLUMN


def _form(value: Any) -> Any:
    """Lists and mappings of plain values in one line, others in a block."""
    if isinstance(value, Mapping):
        made = CommentedMap((key, _form(inner)) for key, inner in value.items())
        if not any(isinstance(inner, Mapping) for inner in value.values()) and made:
            made.fa.set_flow_style()
        return made
    if isinstance(value, list):
        row = CommentedSeq(map(_form, value))
        row.fa.set_flow_style()
        return row
    return value
