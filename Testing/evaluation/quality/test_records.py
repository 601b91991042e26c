"""The log of cases and the figures that are made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from AutoPromptSAMLib.evaluation.quality.records import (
    LOG_NAME,
    BenchError,
    CaseLog,
    CaseRow,
    Settings,
    Statistics,
    Unusable,
    append,
    finite,
    pack_mask,
    summarise,
    unpack_mask,
)
from AutoPromptSAMLib.evaluation.quality.report import markdown, table

SETTINGS = Settings({"set": "0"}, {"model": None}, ("interactive",), ("box",))


def row(sample: str, dice: float | None, prompt: str = "box", **more: object) -> CaseRow:
    return CaseRow("set", "group", "pair", sample, "thing", "model", "interactive", prompt, {"dice": dice}, **more)  # type: ignore[arg-type]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_a_mask_survives_packing(mask: np.ndarray) -> None:
    assert np.array_equal(unpack_mask(pack_mask(mask)), mask)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50))
def test_statistics_are_those_of_numpy(values: list[float]) -> None:
    found = Statistics.of(values)
    assert found is not None
    assert (found.n, found.mean) == (len(values), pytest.approx(np.mean(values), abs=1e-9))
    assert found.sd == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assert found.p5 <= found.median <= found.p95


def test_one_value_has_no_spread_and_none_no_statistics() -> None:
    one = Statistics.of([0.5])
    assert one is not None
    assert one.sd is None
    assert Statistics.of([]) is None


def test_what_is_not_a_number_does_not_reach_the_log() -> None:
    assert finite({"a": math.inf, "b": math.nan, "c": 1}) == {"a": None, "b": None, "c": 1.0}


def test_a_case_without_a_value_is_counted_but_not_averaged() -> None:
    (record,) = summarise([row("a", 0.5), row("b", None), row("c", 0.7)])
    assert (record.n, record.metrics["dice"].n) == (3, 2)
    assert record.metrics["dice"].mean == pytest.approx(0.6)


def test_the_log_gives_back_what_was_appended(tmp_path: Path) -> None:
    log = CaseLog(tmp_path, SETTINGS)
    rows = [
        row("a", 0.5, trace=[0.1, 0.5], given={"boxes": [[1, 2, 3, 4]]}),
        row("b", 0.25, unit="mm", trace=[], view=[0, 3]),
    ]
    for entry in (*rows, Unusable("set", "other", "it is broken."), ("set", "pair", "model")):
        append(log.path, entry)
    log.read()
    assert list(log.rows.values()) == rows
    assert [entry.pair for entry in log.unusable] == ["other"]
    assert log.done == {("set", "pair", "model")}


def test_opening_again_drops_a_torn_line_and_tries_the_unusable_again(tmp_path: Path) -> None:
    log = CaseLog(tmp_path, SETTINGS)
    for entry in (row("a", 0.5), Unusable("set", "x", "why."), ("set", "x", "model"), ("set", "pair", "model")):
        append(log.path, entry)
    with open(log.path, "a", encoding="utf-8") as stream:
        stream.write('{"case": {"dataset"')
    again = CaseLog(tmp_path, SETTINGS)
    append(again.path, row("b", 0.1))
    last = CaseLog(tmp_path, SETTINGS)
    assert [entry.sample for entry in last.rows.values()] == ["a", "b"]
    assert last.done == {("set", "pair", "model")}
    assert last.unusable == []


def test_a_case_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    log = CaseLog(tmp_path, SETTINGS)
    for dice in (0.1, 0.2):
        append(log.path, row("a", dice))
    log.read()
    assert [entry.metrics["dice"] for entry in log.rows.values()] == [0.2]


def test_every_setting_tells_runs_apart(tmp_path: Path, one_sentence: Callable) -> None:
    CaseLog(tmp_path, SETTINGS)
    others = {
        "datasets": {"set": "1"}, "models": {"model": "abc"}, "methods": ("plain",), "prompts": ("click",),
        "objects": ("x",), "limit": 3, "seed": 1, "device": "cuda", "version": "9",
    }  # fmt: skip
    assert set(others) == set(vars(SETTINGS))
    for name, value in others.items():
        with one_sentence(BenchError, name):
            CaseLog(tmp_path, Settings(**{**vars(SETTINGS), name: value}))
    assert (tmp_path / LOG_NAME).read_text().count("\n") == 1


def test_a_cell_cannot_break_a_table() -> None:
    assert table(["a"], [["x | y\nz"]])[-1] == "| x \\| y z |"


def test_a_report_says_when_it_was_interrupted_and_where_values_are_missing() -> None:
    about = {
        "command": "autopromptsam bench quality",
        "settings": SETTINGS.to_json(),
        "environment": {"machine": {"cpu": "C", "cores": 2, "system": "S"}, "versions": {"torch": "1"}, "engines": {}},
    }
    records = summarise([row("a", 0.5), row("b", None), row("c", 0.75)])
    text = markdown(records, [Unusable("set", "bad", "it is empty.")], about, {}, complete=False)
    assert "interrupted" in text
    assert "0.625 ± 0.177, 0.625 [0.512] (2)" in text
    assert "| set | bad | all of it | it is empty. |" in text
    assert "interrupted" not in markdown(records, [], about, {})
