"""Prompts as data: values, JSON, undo."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import (
    Crop,
    VolumeGeometry,
    slice_plane,
)
from AutoPromptSAMLib.prompts import (
    Box,
    Doodle,
    MaskPrompt,
    PixelPrompts,
    Point,
    Prompt,
    PromptSet,
    Source,
)

CT = VolumeGeometry((20, 64, 80), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))
AXIAL = slice_plane(CT, 0, 7)


PROMPTS = st.from_type(Prompt)
coordinates = st.tuples(*[st.floats(-1e6, 1e6)] * 3)


@given(PROMPTS)
def test_json_round_trip_is_exact(prompt: Prompt) -> None:
    data = PromptSet([prompt]).to_json()
    (again,) = PromptSet.from_json(json.loads(json.dumps(data)))
    assert again == prompt
    assert type(again) is type(prompt)
    assert again.source == prompt.source
    assert again.id == prompt.id


@given(PROMPTS, PROMPTS)
def test_different_prompts_are_not_equal(one: Prompt, other: Prompt) -> None:
    assume(one.id != other.id)
    assert one != other


def test_prompts_cannot_be_changed_in_place() -> None:
    point = Point([1, 2, 3])
    with pytest.raises(ValueError, match="read-only"):
        point.ras[0] = 5


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Point([1, 2]), r"position of a point must be an array of shape \(3,\), not \(2,\)"),
        (lambda: Point([1, np.nan, 3]), "finite numbers"),
        (lambda: Point(["1", "2", "3"]), "must be numbers"),
        (lambda: Point(None), "must be numbers"),
        (lambda: Point([1, 2, 3], id=""), "needs an id"),
        (lambda: Source("robot"), 'not from "robot"'),
        (lambda: Doodle(np.zeros((0, 3))), "vertices of a doodle"),
        (lambda: Doodle([[1, 2], [3]]), "must be numbers"),
        (lambda: Doodle([[1, 2, 3]], width_mm=-1), "cannot be negative"),
        (lambda: Box([0, 0, 0], np.ones((3, 3)), [1, 1, 1]), "perpendicular"),
        (lambda: Box([0, 0, 0], np.eye(3), [1, 0, 0]), "two sides"),
        (lambda: Box([0, 0, 0], np.eye(3), [1, -1, 1]), "two sides"),
        (lambda: Box.on_plane(AXIAL, (5, 5, 5, 9)), "x0 < x1"),
        (lambda: Box.on_plane(AXIAL, (5, 9, 7, 5)), "x0 < x1"),
        (lambda: MaskPrompt(Crop(np.zeros((2, 2, 2), bool)), CT), "mask prompt is empty; paint"),
        (lambda: MaskPrompt(Crop.empty(), CT), "mask prompt is empty; paint"),
        (lambda: MaskPrompt(Crop(np.ones((2, 2, 2), bool), (19, 0, 0)), CT), "geometry that the mask was painted on"),
        (lambda: PromptSet([Point([0, 0, 0], id="a"), Point([1, 0, 0], id="a")]), "same id"),
        (lambda: PixelPrompts(np.zeros((2, 2)), np.ones(1)), "2 points but 1 labels"),
        (lambda: PixelPrompts(np.zeros((1, 2)), np.array([2])), "labels 1"),
        (lambda: PixelPrompts(box=[5, 5, 4, 9]), "order x0, y0, x1, y1"),
        (lambda: PixelPrompts(mask=np.zeros((2, 2, 2))), "two dimensions"),
    ],
)
def test_impossible_prompts_are_refused(make, sentence: str) -> None:
    with pytest.raises(PromptError, match=sentence) as caught:
        make()
    assert str(caught.value).endswith(".")


class PromptSetMachine(RuleBasedStateMachine):
    """Any editing against the obvious model: a list of states and a cursor."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts = PromptSet()
        self.states: list[tuple[str, list[Prompt]]] = [("", [])]
        self.cursor = 0
        self.version = 0

    def now(self) -> list[Prompt]:
        return self.states[self.cursor][1]

    def push(self, step: str, state: list[Prompt]) -> None:
        self.states[self.cursor + 1 :] = [(step, state)]
        self.cursor += 1

    @rule(position=coordinates, step=st.text(min_size=1, max_size=5))
    def add(self, position, step: str) -> None:
        point = Point(position)
        self.prompts.add(point, step)
        self.push(step, [*self.now(), point])

    @rule(position=coordinates)
    def add_with_default_step(self, position) -> None:
        doodle = Doodle([position])
        self.prompts.add(doodle)
        self.push("Add doodle", [*self.now(), doodle])

    @precondition(lambda self: self.now())
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        prompt = data.draw(st.sampled_from(self.now()))
        self.prompts.remove(prompt.id)
        self.push(f"Remove {prompt.type}", [p for p in self.now() if p is not prompt])

    @precondition(lambda self: self.now())
    @rule(data=st.data(), position=coordinates, keep_id=st.booleans())
    def replace(self, data: st.DataObject, position, keep_id: bool) -> None:
        old = data.draw(st.sampled_from(self.now()))
        new = Point(position, id=old.id) if keep_id else Point(position)
        self.prompts.replace(old.id, new)
        self.push("Change point", [new if p is old else p for p in self.now()])

    @rule()
    def clear(self) -> None:
        had = bool(self.now())
        self.prompts.clear()
        if had:
            self.push("Clear", [])

    @rule()
    def undo(self) -> None:
        expected = self.states[self.cursor][0] if self.cursor else None
        assert self.prompts.undo() == expected
        self.cursor = max(self.cursor - 1, 0)

    @rule()
    def redo(self) -> None:
        possible = self.cursor + 1 < len(self.states)
        assert self.prompts.redo() == (self.states[self.cursor + 1][0] if possible else None)
        self.cursor += possible

    @rule(data=st.data())
    def refused_edits_change_nothing(self, data: st.DataObject) -> None:
        version = self.prompts.version
        with pytest.raises(PromptError, match="There is no prompt"):
            self.prompts.remove("nobody")
        with pytest.raises(PromptError, match="There is no prompt"):
            self.prompts.replace("nobody", Point([0, 0, 0]))
        if self.now():
            with pytest.raises(PromptError, match="already there"):
                self.prompts.add(data.draw(st.sampled_from(self.now())))
        if len(self.now()) > 1:
            with pytest.raises(PromptError, match="already there"):
                self.prompts.replace(self.now()[0].id, self.now()[1])
        assert self.prompts.version == version

    @invariant()
    def same_as_model(self) -> None:
        assert list(self.prompts) == self.now()
        assert self.prompts.prompts == tuple(self.now())
        assert len(self.prompts) == len(self.now())
        assert all(p.id in self.prompts and self.prompts[p.id] == p for p in self.now())


TestPromptSet = PromptSetMachine.TestCase
TestPromptSet.settings = settings(max_examples=60, stateful_step_count=25)


def test_version_grows_with_every_change_and_only_then() -> None:
    prompts = PromptSet()
    seen = [prompts.version]
    point = Point([1, 2, 3])
    for change in (
        lambda: prompts.add(point),
        lambda: prompts.replace(point.id, Point([1, 2, 4], id=point.id)),
        prompts.undo,
        prompts.redo,
        prompts.clear,
        prompts.undo,
        lambda: prompts.remove(point.id),
    ):
        change()
        seen.append(prompts.version)
    assert seen == sorted(set(seen))
    prompts.redo()
    prompts.clear()
    assert prompts.version == seen[-1]
