"""From records made by hand to differences, counts and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from AutoPromptSAMLib.evaluation.uncertainty import summary
from AutoPromptSAMLib.evaluation.uncertainty.errors import BINS
from AutoPromptSAMLib.evaluation.uncertainty.images import STARTS
from AutoPromptSAMLib.evaluation.uncertainty.records import Case, Record, Run
from AutoPromptSAMLib.evaluation.uncertainty.verdicts import verdicts

BASE, ADAPTED = "lite", "mpa-lite"


def record(
    part: str,
    model: str,
    figures: Sequence[Mapping[str, float | None]],
    dataset: str = "set",
    seed: int = 0,
    use: str = "evaluation",
    tables: Mapping[str, Sequence[float]] | None = None,
) -> Record:
    cases = tuple(Case(f"s{n}", "g", "o", each) for n, each in enumerate(figures))
    return Record(Run(part, model, dataset, seed), BASE, use, "", cases, tables=tables or {})


def holds(records: Sequence[Record], model: str, words: str) -> bool | None:
    (found,) = [one for one in verdicts(records) if one.model == model and words in one.goal]
    return found.holds


def test_a_gain_is_over_the_images_that_both_have() -> None:
    base = record("boxes", BASE, [{"a": 0.5}, {"a": 0.1}, {"a": None}])
    other = record("boxes", ADAPTED, [{"a": 0.8}, {"a": None}, {"a": 0.9}])
    groups = summary.groups([other, base], "boxes")
    assert [group.model for group in groups] == [BASE, ADAPTED]
    assert summary.gain(groups[1], "a", groups[0], "a") == pytest.approx(0.3)
    assert summary.gain(groups[0], "b", groups[1], "a") is None


def test_seeds_count_alike() -> None:
    records = [record("boxes", BASE, [{"a": 0.0}] * 3), record("boxes", BASE, [{"a": 1.0}], seed=1)]
    (group,) = summary.groups(records, "boxes")
    assert group.mean("a") == pytest.approx(0.5)
    found = group.figure("a")
    assert found is not None
    assert (found.n, found.seeds) == (4, (0.0, 1.0))


def boxes(gain: float, tight: float, use: str = "evaluation", dataset: str = "set") -> list[Record]:
    def ways(single: float, more: float) -> dict[str, float]:
        return {
            "single": single,
            "ugmp": single,
            "ugpa-1": single + more,
            "ugpa": single + more,
            "always": single,
            "guarded": single + max(more, 0),
        }

    def figures(more: Mapping[str, float]) -> dict[str, float | None]:
        return {f"{start}/{way}": value for start in STARTS for way, value in ways(0.6, more[start]).items()}

    nothing = dict.fromkeys(STARTS, 0.0)
    mended = {"tight": tight, "0.75": gain / 4, "0.5": gain}
    return [
        record("boxes", BASE, [figures(nothing)], dataset, use=use),
        record("boxes", ADAPTED, [figures(mended)], dataset, use=use),
    ]


@pytest.mark.parametrize(("gain", "expected"), [(0.13, True), (0.11, False)])
def test_boxes_are_judged_by_the_gain_over_the_plain_model(gain: float, expected: bool) -> None:
    found = boxes(gain, 0.0)
    assert holds(found, ADAPTED, "IoU 0.5: UGPA alone") is expected
    assert holds(found, ADAPTED, "IoU 0.75: UGPA alone") is (gain / 4 >= 0.02)
    assert holds(found, ADAPTED, "IoU 0.5: guarded UGPA") is expected
    assert holds(found, BASE, "IoU 0.5: UGPA alone") is None  # the goal is about the adapter
    assert holds(found, ADAPTED, "E1") is True
    assert holds(found, ADAPTED, "E3") is True
    assert holds(found, BASE, "E3") is False  # no better is not better


def test_tight_boxes_are_judged_by_the_worst_set_and_only_where_nothing_was_trained() -> None:
    fine, bad = boxes(0.2, 0.3, dataset="fine"), boxes(0.2, -0.006, dataset="bad")
    assert holds(fine, ADAPTED, "tight boxes: UGPA alone") is True
    assert holds([*fine, *bad], ADAPTED, "tight boxes: UGPA alone") is False
    assert holds([*fine, *bad], ADAPTED, "tight boxes: guarded") is True
    reserved = boxes(0.2, -0.5, use="train", dataset="kept")
    assert holds([*fine, *reserved], ADAPTED, "tight boxes: UGPA alone") is True


def test_points_must_help_with_the_adapter_and_hurt_without() -> None:
    def figures(step: float) -> dict[str, float | None]:
        return {f"{start}/+{n}": 0.5 + step * n for start in STARTS[1:] for n in (0, 3, 10)}

    assert holds([record("points", ADAPTED, [figures(0.01)])], ADAPTED, "E2") is True
    assert holds([record("points", ADAPTED, [figures(-0.01)])], ADAPTED, "E2") is False
    assert holds([record("points", BASE, [figures(-0.01)])], BASE, "E2") is True
    assert holds([record("points", BASE, [figures(0.0)])], BASE, "E2") is False


def test_a_click_is_judged_against_one_decode_and_shown_against_the_search() -> None:
    found = [
        record("click", BASE, [{"raw": 0.1, "interactive": 0.6}]),
        record("click", ADAPTED, [{"raw": 0.5, "interactive": 0.5}]),
    ]
    assert holds(found, ADAPTED, "over the plain model") is True
    (search,) = [one for one in verdicts(found) if "search" in one.goal]
    assert search.holds is None
    assert search.measured.startswith("-0.100")


def test_errors_are_judged_by_auroc_and_calibration() -> None:
    figures: dict[str, float | None] = {f"{start}/auroc/mean": 0.91 for start in STARTS}
    figures["0.5/auroc/mean"] = 0.7
    good, poor = np.zeros((3, BINS)), np.zeros((3, BINS))
    good[:, 7] = 1.0, 0.5, 0.46
    poor[:, 7] = 1.0, 0.5, 0.4
    tables = {f"{start}/reliability/{name}": table.ravel().tolist() for start in STARTS
              for name, table in (("none", poor), ("halves", good), ("card", poor))}  # fmt: skip
    found = [record("errors", BASE, [figures], tables=tables)]
    assert holds(found, BASE, "mask at least 0.9, box tight") is True
    assert holds(found, BASE, "mask at least 0.9, box 0.5") is False
    assert holds(found, BASE, "temperature: halves") is True
    assert holds(found, BASE, "temperature: card") is False
    assert holds(found, BASE, "temperature: none") is None


def test_slices_cost_and_review() -> None:
    share = record("slices", BASE, [{"share": 0.7, "share/best": 0.9}, {"share": 0.2, "share/best": 0.8}])
    assert holds([share], BASE, "least sure") is False
    seconds = {"512/single": 0.1, "512/ugmp": 0.3, "512/round": 0.3, "512/ugmp + round": 0.6}
    assert holds([record("cost", BASE, [seconds])], BASE, "one UGPA round") is True
    assert holds([record("cost", BASE, [{**seconds, "512/round": 0.41}])], BASE, "one UGPA round") is False
    slow = {name: 2 * value for name, value in seconds.items()}
    assert holds([record("cost", BASE, [slow])], BASE, "one UGPA round") is False  # few decodes, but slow ones

    def review(ranked: float | None, in_order: float | None) -> dict[str, float | None]:
        return {"rough/ranked/corrected/0.90": ranked, "rough/in order/corrected/0.90": in_order}

    found = [record("human", BASE, [review(2, 5), review(4, 5), review(None, 9)])]
    counted = summary.counts(summary.groups(found, "human"), BASE, "rough", 0.90)
    assert (counted.ranked, counted.in_order, counted.objects, counted.missing) == (6, 10, 2, 1)
    assert holds(found, BASE, "0.90 from a rough") is True
    assert holds([record("human", BASE, [review(4, 5)])], BASE, "0.90 from a rough") is False
    nothing_to_do = [record("human", BASE, [review(0, 0)])]
    assert holds(nothing_to_do, BASE, "0.90 from a rough") is None


def test_no_records_no_verdicts() -> None:
    assert verdicts([]) == []
