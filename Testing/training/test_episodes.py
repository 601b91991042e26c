"""Episodes: which images prompt which others, and for what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from AutoPromptSAMLib.training.episodes import draw_episode
from AutoPromptSAMLib.training.shots import Example, Shot, View, shots_of

from ..prompters.scenes import random_backbone


def _shot(name: str, group: str, present: tuple[bool, ...], known: tuple[bool, ...] | None = None) -> Shot:
    views = tuple(
        View(torch.zeros(0), None, torch.tensor([n]), torch.zeros(0), mirrored=n % 2 == 1)  # type: ignore[arg-type]
        for n in range(4)
    )
    return Shot(name, group, tuple("abc"[: len(present)]), present, known or (True,) * len(present), views)


def test_many_objects_take_turns() -> None:
    shots = [
        replace(_shot(str(n), str(n), (True,)), objects=tuple("abcde"), present=(True,) * 5, known=(True,) * 5)
        for n in range(6)
    ]
    rng = np.random.default_rng(0)
    episodes = [draw_episode(shots, rng, 3, 2) for _ in range(40)]
    assert {numbers for episode in episodes for numbers in episode.chosen} > {(0, 1), (2, 4), (1, 3)}
    assert all(len(set(episode.chosen)) == 1 and len(episode.chosen[0]) == 2 for episode in episodes)


def test_supports_and_targets_are_of_other_patients() -> None:
    shots = [_shot(str(n), "ab"[n % 2], (True,)) for n in range(6)]
    by_view = {id(view): shot for shot in shots for view in shot.views}
    rng = np.random.default_rng(0)
    for _ in range(40):
        episode = draw_episode(shots, rng, 1, 2)
        (support,) = (by_view[id(view)] for view in episode.supports)
        assert len(episode.targets) == 2
        assert all(by_view[id(view)].group != support.group for view in episode.targets)


def test_supports_share_a_draw_and_show_every_object() -> None:
    shots = [_shot(str(n), str(n), (True, n in (2, 3))) for n in range(6)]
    by_view = {id(view): shot for shot in shots for view in shot.views}
    rng = np.random.default_rng(0)
    for _ in range(40):
        episode = draw_episode(shots, rng, 3, 2)
        assert len({int(view.image) for view in episode.supports}) == 1
        assert any(by_view[id(view)].present[1] for view in episode.supports)
        names = [by_view[id(view)].name for view in (*episode.supports, *episode.targets)]
        assert len(set(names)) == len(names) == 5


@given(
    st.lists(st.tuples(*[st.sampled_from([(True, True), (False, True), (False, False)])] * 3), min_size=3), st.data()
)
def test_an_episode_asks_for_what_supports_show_and_targets_know(
    states: list[tuple[tuple[bool, bool], ...]], data: st.DataObject
) -> None:
    shots = [_shot(str(n), str(n), *zip(*of, strict=True)) for n, of in enumerate(states)]  # type: ignore[arg-type]
    assume(all(sum(shot.present[o] for shot in shots) >= 2 for o in range(3)))
    by_view = {id(view): shot for shot in shots for view in shot.views}
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    episode = draw_episode(shots, rng, data.draw(st.integers(1, 4)), 2, 3)
    asked = episode.chosen[0]
    assert asked
    supports = [by_view[id(view)] for view in episode.supports]
    others = [by_view[id(view)] for view in (*episode.targets, *episode.glances)]
    assert others
    assert len({shot.name for shot in supports}) == len(supports)
    assert not {shot.name for shot in supports} & {shot.name for shot in others}
    for o in asked:
        assert any(shot.present[o] for shot in supports)
        assert all(shot.known[o] for shot in (*supports, *others))


def test_left_stays_left() -> None:
    shots = [_shot(str(n), str(n), (True,)) for n in range(6)]
    rng = np.random.default_rng(0)
    sides = set()
    for _ in range(40):
        episode = draw_episode(shots, rng, 2, 2, 2)
        views = (*episode.supports, *episode.targets, *episode.glances)
        sides.add(tuple({view.mirrored for view in views}))
    assert sides == {(True,), (False,)}


def test_views_are_mirrored_in_turn() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    right = np.zeros((40, 40), bool)
    right[15:25, 28:36] = True
    (shot,) = shots_of(random_backbone(), [Example("x", "x", image, {"right": right})], ["right"], 64, 4, seed=3)
    half = shot.views[0].masks.shape[-1] // 2
    on_the_right = [bool(view.masks[0, :, half:].sum() > view.masks[0, :, :half].sum()) for view in shot.views]
    assert on_the_right == [True, False, True, False] == [not view.mirrored for view in shot.views]
