"""What the page says at its top, in sentences: made from the figures, never without them."""

from collections.abc import Mapping
from typing import Any

from imagetrail.base.words import percent
from imagetrail.stages.report.words import between, minus, points, thousands

CHAMPION = "the challenger is the champion"  # the gate's reason
NEXT = {
    "PROMOTE": "Yes. Make it the champion with `imagetrail promote`, and commit what that changes.",
    "HOLD": "Not shown to be better than what ships: keep the champion. More test "
    "pictures, or a better recipe, may change that.",
    "REJECT": "No: keep the champion, if there is one, and mend what the failed checks name.",
}
LABELS = (
    ("imagetrail review", "shows what is doubtful in the data; a key mends a label"),
    ("imagetrail suggest FOLDER", "ranks new pictures by what labelling them would teach"),
    ("make repro", "judges again, once labels, pictures or params.yaml are changed"),
)
STEPS = {  # commands of the verdict, each with what it does
    "PROMOTE": (
        ("imagetrail demo", "tries the model on pictures of your own"),
        ("imagetrail promote", "makes it the champion; then commit what that changes"),
        ("imagetrail publish", "shows the run, and the new champion, in MLflow"),
    ),
    "HOLD": LABELS,
    "REJECT": LABELS,
}
USE = (
    ("imagetrail serve", "answers programs over HTTP"),
    ("imagetrail drift FOLDER", "says whether new pictures are still like those it was made with"),
    ("imagetrail rollback", "makes the champion before it the champion again"),
)
CHANGES = (
    *("flip", "turn", "shift", "crop", "rotate", "zoom"),
    *("cutout", "erase", "mixup", "cutmix"),
)
FINE_TUNING = "fine_tuning"  # the set of arms that decides by itself
MEANING = {
    "helps": "helped",
    "harms": "harmed",
    "no effect": "had no shown effect",
}


def verdict(gate: Mapping[str, Any]) -> str:
    """What to do about the gate's decision."""
    if gate["decision"] == "HOLD" and gate.get("champion") is None:
        return "Not shown to be good enough, and there is no champion: see what failed below."
    if gate["reason"] == CHAMPION:
        return "This model is the champion already: there is nothing to do."
    return NEXT[gate["decision"]]


def steps(gate: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    """Commands that come next, each with what it does."""
    if gate is None:
        return (("make repro", "trains, judges and explains a model"),)
    return USE if gate["reason"] == CHAMPION else STEPS[gate["decision"]]


def change(gate: Mapping[str, Any]) -> str:
    """How the new model differs from the champion, on the same pictures."""
    if gate.get("champion") is None:
        return f"There is no champion yet that it could be compared with. {_asked(gate)}".rstrip()
    if "top1_difference" not in gate:
        return "It could not be compared with the champion; the verdict below says why."
    ends = between(gate["top1_difference_low"], gate["top1_difference_high"])
    same = " and the same training pictures" if _same_data(gate) else ""
    return (
        f"{points(gate['top1_difference'])} points of top-1 against the champion (95 %: {ends}), "
        f"on the same test pictures{same}: where only one of the two is right, it is the new one "
        f"{gate['only_challenger_right']} times, the champion {gate['only_champion_right']} times."
    )


def _asked(gate: Mapping[str, Any]) -> str:
    """What accuracy is asked of the first model, and what it has at least."""
    rows = {row["name"]: row for row in gate["checks"]}
    row, by = rows.get("top1_low"), "top-1"
    if row is None:
        return ""
    low, bound = percent(row["value"]), percent(row["bound"], 0)
    return f"Of the first, params.yaml asks a {by} of {bound} or more; this one has {low} at least."


def by_guessing(classes: list[Mapping[str, Any]]) -> str:
    """What whoever always names the commonest class is right on."""
    counts = [float(row["images"]) for row in classes]
    return percent(max(counts) / sum(counts))


def reading(gate: Mapping[str, Any]) -> str:
    """Which challenger this is that the test pictures judge, and what that costs."""
    spent = f"may err with a chance of {100 * gate['alpha_spent']:.2g} %"
    if gate["reading"] == 1:
        return f"It is the first challenger that these test pictures judge: a verdict {spent}."
    due = " New test pictures are due." if gate["fresh_due"] else ""
    return (
        f"It is challenger number {gate['reading']} that these test pictures judge. Each had some "
        f"chance to win by luck, so a verdict now {spent}, and a gain must be larger to be "
        f"seen.{due}"
    )


def needed(row: Mapping[str, Any]) -> str:
    """How many more test pictures a check needs."""
    if row["more_images"] is None:
        return "no number would: it is not ahead on these"
    return f"about {thousands(row['more_images'])}"


def _same_data(gate: Mapping[str, Any]) -> bool:
    data = gate.get("data") or {}
    return bool(data.get("champion")) and data["champion"] == data.get("challenger")


def helped(ranking: Mapping[str, Any]) -> str:
    """Whether augmented images, synthetic ones, or what else was tried helped, each by how much."""
    tried = [
        arm for arm in ranking["arms"] if arm["set"] == "remedies" and arm["verdict"] != "reference"
    ]
    if not tried:
        return "No remedy was tried."
    answer = "Yes" if any(arm["verdict"] == "helps" for arm in tried) else "No gain was shown"
    found = []
    for arm in tried:
        ends = between(arm["difference_low"], arm["difference_high"])
        name = "all together" if arm["arm"] == "all" else arm["arm"].removeprefix("+")
        effect = MEANING.get(arm["verdict"], arm["verdict"])
        found.append(f"{name} {effect} ({points(arm['difference'])} points, 95 %: {ends})")
    return f"{answer}: {'; '.join(found)}."


def changed(recipe: Mapping[str, Any]) -> str:
    """That pictures are changed at random while the network learns, where they are; else empty."""
    names = [name for name in CHANGES if recipe.get(name)]
    if not names:
        return ""
    return f"The random changes of the recipe ({', '.join(names)}) are apart from this, and stay."


def worst(classes: list[Mapping[str, Any]]) -> str:
    """The class that is recognised least often, with its interval."""
    row = min(classes, key=lambda row: float(row["recall"]))
    ends = f"{100 * row['recall_low']:.2f} – {percent(row['recall_high'])}"
    pictures = f"its {thousands(row['images'])} test pictures are recognised"
    return f"{row['class']}: {percent(row['recall'])} of {pictures} (95 %: {ends})"


def trained_arm(name: str, ranking: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Why a set's best arm was trained, or was not; empty where the files do not tell."""
    arms = [arm for arm in ranking["arms"] if arm["set"] == name]
    recipes, recipe = (facts["recipes"] or {}).get(name, {}), facts["recipe"]
    fields = _varied(recipes)
    if not (recipe and fields and arms) or name == FINE_TUNING:  # whose verdict says it
        return ""
    mine = [arm for arm, given in recipes.items() if all(given[f] == recipe[f] for f in fields)]
    best = max(arms, key=lambda arm: float(arm["mean"]))
    if best["arm"] in mine:
        return f"The best on average, {best['arm']}, is what was trained."
    where = ", ".join(f"`recipe.{field}: {recipes[best['arm']][field]}`" for field in fields)
    said = ", ".join(f"{field} {recipe[field]}" for field in fields)
    text = f"The final training has {said}: params.yaml and the search say so, a comparison only "
    text += f"reports. {best['arm']} has the higher mean"
    known = [arm for arm in arms if arm["arm"] in mine]
    if known:
        ahead = points(best["mean"] - known[0]["mean"])
        text += f" by {ahead.removeprefix('+')} points"
        if "reference" not in (best["verdict"], known[0]["verdict"]):
            text += " (these two were not tested against each other)"
    return minus(f"{text}; to train it, set {where} in params.yaml.")


def _varied(recipes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The fields of the recipe that differ between the arms of a set."""
    given = list(recipes.values())
    return [key for key in given[0] if len({str(one[key]) for one in given}) > 1] if given else []


def search_and_training(facts: Mapping[str, Any]) -> list[str]:
    """Where the training departed from the search's best trial, and why."""
    best, recipe = facts["best"] or {}, facts["recipe"] or {}
    return [
        f"The best trial of the search had {name} {value:g}; the training has {recipe[name]:g}, "
        "for only what the comparison proves to help enters it."
        for name, value in best.items()
        if name in ("augmented", "synthetic", "related") and recipe.get(name, value) != value
    ]


def looked(scores: Mapping[str, Any]) -> str:
    """What the trial of maps came to."""
    methods, chosen = scores["methods"], scores["method"]
    passed = [name for name, found in methods.items() if found["passed"]]
    if not methods:
        return "No method has maps of this network, so none is shown."
    if not passed:
        return (
            "No method passed: where the network looks is not known, and no map is shown. More "
            "pictures (`explain.pictures`) may show what so few do not."
        )
    also = ", which an exported file can do, too" if chosen == "occlusion" else ""
    ahead, low = (100 * methods[chosen][f"deletion_over_other{end}"] for end in ("", "_low"))
    return (
        f"{len(passed)} of {len(methods)} methods passed. Drawn first is {chosen.replace('_', ' ')}"
        f"{also}: when what its map names is taken away, the answer loses {ahead:.1f} points of "
        f"probability more (at least {low:.1f}) than by the map of another picture."
    )


def leaning(row: Mapping[str, Any]) -> str:
    """What it means that accuracy falls, or does not, without a part of the picture."""
    part, lost = row["without"], row["difference_high"] < 0
    if part == "centre":
        return (
            "part of the answer comes from there, as it should"
            if lost
            else "no part of the answer is shown to come from there: look for a shortcut around it"
        )
    if not lost:
        return "no part of the answer is shown to come from there"
    if part == "colour":
        return "it needs colour: a shortcut, unless colour is what tells your classes apart"
    return "part of the answer comes from there: a shortcut, unless what you look for is there"


def loss_gap(facts: Mapping[str, Any]) -> str:
    """Why the loss on train is above that on valid, where it is; else empty."""
    last, recipe = facts["history"][-1], facts["recipe"] or {}
    if last["train_loss"] <= last["valid_loss"]:
        return ""
    reasons = []
    if recipe.get("label_smoothing"):
        reasons.append(f"against labels smoothed by {recipe['label_smoothing']:g}")
    if changed(recipe):
        reasons.append("on pictures that are changed at random")
    reasons.append("while it still learns, where valid is judged at the end of the epoch")
    return f"The loss on train is the higher one because it is measured {', '.join(reasons)}."
