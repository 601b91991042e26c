"""The menu of windows, on the display of a volume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.intensity import CT_PRESETS
from AutoPromptSAMLib.workbench.windows import AUTOMATIC, CUSTOM, WindowMenu

from ..mrml.segmenting import Desk


def opened(scene: Any, modality: str | None) -> Desk:
    array = np.random.default_rng(0).integers(-900, 900, (5, 20, 20)).astype(np.int16)
    desk = Desk(scene, Volume(array, VolumeGeometry((5, 20, 20), np.eye(4)), modality))
    desk.volume_node.CreateDefaultDisplayNodes()
    return desk


@pytest.fixture
def ct(scene: Any) -> Iterator[Desk]:
    desk = opened(scene, "CT")
    yield desk
    desk.close()


def shown(desk: Desk) -> tuple[float, float]:
    display = desk.volume_node.GetScalarVolumeDisplayNode()
    return display.GetLevel(), display.GetWindow()


def mapping(desk: Desk) -> dict[str, Any]:
    return desk.session._image.mapping.to_json()  # type: ignore[union-attr, no-any-return]


def test_a_ct_is_shown_in_the_window_of_the_abdomen(ct: Desk) -> None:
    menu = WindowMenu(ct.segmenter)
    assert menu.chosen == "abdomen"
    assert [entry.id for entry in menu.entries] == [AUTOMATIC, *CT_PRESETS]
    assert shown(ct) == CT_PRESETS["abdomen"]


def test_another_image_has_the_automatic_one_only(scene: Any) -> None:
    desk = opened(scene, "MR")
    menu = WindowMenu(desk.segmenter)
    assert (menu.chosen, [entry.title for entry in menu.entries]) == (AUTOMATIC, ["Automatic"])
    desk.close()


def test_a_window_that_was_dragged_is_an_entry_until_another_is_chosen(ct: Desk) -> None:
    menu = WindowMenu(ct.segmenter)
    assert not menu.look()
    ct.volume_node.GetScalarVolumeDisplayNode().SetWindowLevel(120, 60)
    assert menu.look()
    assert not menu.look()
    assert (menu.chosen, menu.entries[-1].id, menu.entries[-1].title) == (CUSTOM, CUSTOM, "Level 60, width 120")
    menu.choose(CUSTOM)
    assert shown(ct) == (60, 120)
    menu.choose("bone")
    assert (menu.chosen, menu.entries[-1].id) == ("bone", list(CT_PRESETS)[-1])


def test_choosing_is_no_dragging(ct: Desk) -> None:
    looks = []
    menu = WindowMenu(ct.segmenter)
    ct.volume_node.GetScalarVolumeDisplayNode().AddObserver("ModifiedEvent", lambda *_: looks.append(menu.look()))
    for window in ("bone", AUTOMATIC, "lung", AUTOMATIC):
        menu.choose(window)
        assert menu.chosen == window
    assert len(looks) >= 4
    assert not any(looks)
    assert not menu.look()


def test_the_model_sees_what_was_chosen_and_not_what_was_dragged(ct: Desk) -> None:
    menu = WindowMenu(ct.segmenter)
    menu.choose("bone")
    menu.show_to(ct.segmenter)
    level, width = CT_PRESETS["bone"]
    assert mapping(ct) == {"type": "window", "level": level, "width": width}
    ct.volume_node.GetScalarVolumeDisplayNode().SetWindowLevel(120, 60)
    menu.look()
    menu.show_to(ct.segmenter)
    assert mapping(ct) == {"type": "window", "level": level, "width": width}


def test_an_image_that_was_closed_is_left_alone(scene: Any, ct: Desk) -> None:
    menu = WindowMenu(ct.segmenter)
    scene.RemoveNode(ct.volume_node)
    menu.choose("bone")
    assert menu.chosen == "abdomen"
