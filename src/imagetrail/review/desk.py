"""What is under review: the queues, their pictures, and what has been decided about them."""

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from imagetrail.base import paths
from imagetrail.base.errors import UserError
from imagetrail.base.lookup import choose
from imagetrail.data.corrections import DROP, Correction
from imagetrail.data.decoding import Unreadable
from imagetrail.data.params import Data
from imagetrail.data.pictures import Pictures
from imagetrail.review.decisions import Decisions
from imagetrail.review.nearest import Nearest
from imagetrail.review.queues import Item, Queue, read_queues, read_splits
from imagetrail.review.views import Views

KEPT = Path(".imagetrail/review")
MODEL = paths.ARTIFACTS / "export" / "model.onnx"
MEMBERS = 60  # of a group, that the page gets
NEAREST = 6


class Desk:
    """Answers what the page asks, as plain values."""

    def __init__(self, data: Data, pictures: Pictures, *, by: str) -> None:
        """pictures: with the labels that they came with. by: who decides."""
        if DROP in pictures.classes:
            raise UserError(f"a class is called {DROP!r}, which leaves a picture out; rename it")
        self._data, self._pictures, self._by = data, pictures, by
        self._splits = read_splits(pictures)
        self._queues = {
            queue.name: queue for queue in read_queues(pictures, self._splits, data.name)
        }
        self._numbers = {source: i for i, source in enumerate(pictures.sources)}
        self.views = Views(pictures)
        self.decisions = Decisions(paths.CORRECTIONS, lock=KEPT / "lock")
        self.nearest = Nearest(MODEL, paths.TRAIN, KEPT)

    # ---- what there is ----

    def state(self) -> dict[str, Any]:
        """The data set, its classes, and each queue with how much of it is left."""
        return {
            "name": self._data.name,
            "by": self._by,
            "classes": list(self._pictures.classes),
            "queues": [self._described(queue) for queue in self._queues.values()],
        }

    def _described(self, queue: Queue) -> dict[str, Any]:
        items, decided = queue.items or (), self.decisions.current()
        open_ = sum(not _done(item, decided) for item in items)
        return {
            "name": queue.name,
            "title": queue.title,
            "count": len(items),
            "left": open_,
            "missing": "" if queue.items is not None else queue.made_by,
        }

    def items(self, name: str, start: int, count: int) -> list[dict[str, Any]]:
        queue = choose(self._queues, name, "queue")
        return [self._shown(item) for item in (queue.items or ())[start : start + count]]

    def _shown(self, item: Item) -> dict[str, Any]:
        decided = self.decisions.current()
        return {
            "members": [self._member(source, decided) for source in item.sources[:MEMBERS]],
            "more": max(0, len(item.sources) - MEMBERS),
            "reason": item.reason,
            "suggested": item.suggested,
            "p_label": item.p_label,
            "p_suggested": item.p_suggested,
            "done": _done(item, decided),
        }

    def _member(self, source: str, decided: Mapping[str, Correction]) -> dict[str, Any]:
        number, made = self._numbers.get(source), decided.get(source)
        return {
            "source": source,
            "picture": number,
            "label": self._label(source),
            "split": self._splits.get(source, ""),
            "decision": made and {"label": made.label, "by": made.by, "why": made.why},
        }

    def _label(self, source: str) -> str:
        number = self._numbers.get(source)
        return "" if number is None else self._pictures.classes[self._pictures.labels[number]]

    def following(self, name: str, position: int) -> int | None:
        """The next item that nobody has decided about, the first ones again after the last."""
        items = choose(self._queues, name, "queue").items or ()
        decided = self.decisions.current()
        order = chain(range(position + 1, len(items)), range(min(position + 1, len(items))))
        return next((i for i in order if not _done(items[i], decided)), None)

    def about(self, number: int) -> dict[str, Any]:
        """What a picture's file is, and the training pictures that are most like it."""
        source = self._pictures.sources[number]
        try:
            facts = self.views.facts(number)
            image = self.views.read(number, self._data.target)[0]
        except Unreadable as reason:
            return {"fault": str(reason)}
        found, note = self.nearest.of(image, but=source, count=NEAREST)
        decided = self.decisions.current()
        return {
            "width": facts.width,
            "height": facts.height,
            "bytes": facts.bytes,
            "nearest": [self._member(one, decided) for one in found],
            "note": note,
        }

    # ---- what is decided ----

    def decide(
        self, name: str, position: int, choice: str, *, source: str | None, others: bool
    ) -> None:
        """Writes a choice down: `keep`, `drop`, or a class as `label:…`.

        source: the picture of the item that it is about; null: all that are undecided. others: it
        is about the undecided ones but `source`.
        """
        items = choose(self._queues, name, "queue").items or ()
        if not 0 <= position < len(items):
            raise UserError(f"queue {name} has no item {position}")
        item, decided = items[position], self.decisions.current()
        open_ = [one for one in item.sources if one not in decided]
        chosen = [source] if source and not others else [one for one in open_ if one != source]
        if source and source not in item.sources:
            raise UserError(f"{source} is not in this item")
        rows = [self._correction(one, choice, item) for one in chosen]
        if rows:
            self.decisions.put(rows, (name, position))

    def _correction(self, source: str, choice: str, item: Item) -> Correction:
        given = self._label(source)
        if choice == "drop":
            return Correction(source, DROP, self._by, f"dropped: {item.reason}")
        if not given:
            raise UserError(f"{source} is not in the data set any more: it can only be dropped")
        if choice == "keep":
            return Correction(source, given, self._by, f"kept: {item.reason}")
        label = choice.removeprefix("label:")
        choose(dict.fromkeys(self._pictures.classes), label, "class")
        return Correction(source, label, self._by, f"relabelled: {item.reason}")


def _done(item: Item, decided: Mapping[str, Correction]) -> bool:
    """Whether every picture is decided about, or all but one are dropped."""
    if len(item.sources) == 1:
        return item.sources[0] in decided
    left = [source for source in item.sources if source not in decided]
    kept = [one for one in item.sources if one in decided and decided[one].label != DROP]
    return not left or (len(left) == 1 and not kept)
