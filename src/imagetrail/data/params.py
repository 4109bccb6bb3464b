"""The section of params.yaml that says which pictures, and what they are brought to."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from imagetrail.base.errors import UserError
from imagetrail.base.lookup import choose, names_in
from imagetrail.base.params import Section, load
from imagetrail.data import addresses, own
from imagetrail.data.decoding import Bits, Fit, Frames, Shape, Target
from imagetrail.data.listing import flaw

OWN = "own"  # data.source: the user's pictures at data.path
PUBLISHED = "imagetrail.data.datasets:DATASETS"

SIDES = range(8, 513)  # pixels


def _source(source: str) -> str:
    if "://" in source:
        addresses.check(source)
        return source
    return choose(dict.fromkeys((*names_in(PUBLISHED), OWN), source), source, "data source")


def _name(name: str) -> str:
    """A folder, an experiment or a registered model of MLflow may be called so."""
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        wanted = "at most 100 letters, digits, -, _ and ., the first a letter or digit"
        raise ValueError(f"wanted are {wanted}")
    return name


Name = Annotated[str, AfterValidator(_name)]


def _path(path: Any) -> Any:
    if not isinstance(path, str | Path):
        raise ValueError("a folder or archive is wanted")
    if fault := flaw(str(path)):
        raise ValueError(f"the path {fault}")
    return path


def _image_size(size: Any) -> Any:
    sides = size if isinstance(size, list | tuple) and len(size) == 2 else [size]
    if not all(type(side) is int and side in SIDES for side in sides):
        bounds = f"{SIDES[0]} … {SIDES[-1]}"
        raise ValueError(f"{bounds} pixels are wanted, for both sides or as [height, width]")
    return size


class Data(Section):
    """The `data` section: which pictures, and the one size and colour they are brought to."""

    name: Name = Field(
        description="of the data set; the experiment and the registered model are called so, "
        "unless `project` names them"
    )
    source: Annotated[str, AfterValidator(_source)] = Field(
        description="a published data set; own: your pictures at `path`; or an address: https://…, "
        "s3://…, gs://…, hf://…"
    )
    path: Annotated[Path, BeforeValidator(_path)] = Field(
        description="own: a folder or archive of class sub-folders, or of pictures and a table"
    )
    table: str | None = Field(
        default=None,
        description="file of labels within the source, such as labels.csv; null: class sub-folders",
    )
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="of what an address sends; null: noted in data/checksums.json at first",
    )
    image_size: Annotated[int | tuple[int, int], BeforeValidator(_image_size)] = Field(
        description="pixels, both sides, or [height, width]: 8 … 512"
    )
    channels: Literal[1, 3] = Field(description="1 grey, 3 RGB")
    fit: Fit = Field(default="crop", description="what is done to pictures of another shape")
    frames: Frames = Field(
        default="refuse", description="what is done with a file of several pages or frames"
    )
    bits: Bits | None = Field(
        default=None,
        description="in use of 16-bit grey, such as 12; null: as many as each file's brightest "
        "pixel needs",
    )

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, values: Any) -> Any:
        """Until there was `source`, `name` said both."""
        if isinstance(values, dict) and "name" in values and "source" not in values:
            source, name = values["name"], values["name"]
            if name == "folder":
                source, name = OWN, "a name of your choice"
            raise ValueError(f"source is missing; write `source: {source}` and `name: {name}`")
        return values

    @property
    def shape(self) -> Shape:
        size = self.image_size
        height, width = (size, size) if isinstance(size, int) else size
        return height, width, self.channels

    @property
    def target(self) -> Target:
        return Target(self.shape, self.fit, self.frames, self.bits)

    def _check_path(self, path: Path) -> None:
        if not self.path.exists():
            wanted = "it must be a folder or archive of pictures"
            raise UserError(f"{path}: data.path: {self.path} does not exist; {wanted}")
        try:
            own.check(self.path, self.table)
        except UserError as fault:
            raise UserError(f"{path}: data.path: {fault}") from None

    def check(self, path: Path) -> None:
        if self.source == OWN:
            self._check_path(path)
        unknown: Any = load(Any, "evaluate.unknown", path)
        check_others([unknown] if unknown else [], self.source, f"{path}: evaluate.unknown")
        related = load(list[str], "pretrain.related", path)
        check_others(related, self.source, f"{path}: pretrain.related")
        if unknown in related:
            raise UserError(
                f"{path}: evaluate.unknown: {unknown!r} is among pretrain.related; "
                "name one that the model has not learned from"
            )


def check_others(names: Sequence[str], source: str, where: str) -> None:
    """Raises UserError, beginning with `where`, for one that is not published or is `source`."""
    if len(set(names)) < len(names):
        raise UserError(f"{where}: a data set is named twice in {', '.join(names)}")
    for name in names:
        choose(dict.fromkeys(names_in(PUBLISHED)), name, f"data set in {where}")
        if name == source:
            wanted = f"name a published data set other than {source!r}"
            raise UserError(f"{where}: {name!r} cannot be used; {wanted}")
