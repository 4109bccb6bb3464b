"""Which pictures belong together, and under what name."""

from imagetrail.stages.split import units


def test_pictures_that_share_anything_are_one_unit_however_far_apart() -> None:
    found = units.find(
        ["f", "f", "e", "d", "c", "b"], [None, 1, 1, None, None, None], ["", "", "p", "p", "", ""]
    )
    assert found.of.tolist() == [0, 0, 0, 0, 1, 2]


def test_a_key_is_the_least_name_or_without_one_the_least_fingerprint() -> None:
    found = units.find(["b", "a", "0", "1"], [7, 7, 8, 8], ["", "", "z", "y"])
    assert found.keys == ["a", "y"] and found.named.tolist() == [False, True]


def test_what_is_alone_has_a_group_only_if_the_user_gave_it_one() -> None:
    found = units.find(["a", "b", "c", "c"], [None] * 4, ["", "p", "", ""])
    assert found.groups == [None, "p", "c", "c"]


def test_an_unreadable_picture_is_of_no_unit_and_ties_nothing() -> None:
    found = units.find(["a", None, "b"], [None] * 3, ["", "p", "p"])
    assert found.of.tolist() == [0, -1, 1] and found.groups == [None, None, "p"]


def test_no_pictures_are_no_units() -> None:
    assert len(units.find([], [], [])) == 0 and len(units.find([None], [None], [""])) == 0
