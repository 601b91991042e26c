"""An image, its segmentation and a session at work together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.mrml.reports import Message
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.workbench.connection import ALL, Connection

from ..mrml.segmenting import Host
from ..threshold_backbone import ThresholdBackbone


class Told:
    """A host that notes what it is told."""

    def __init__(self) -> None:
        self.changed: list[list[str]] = []
        self.said: list[str] = []

    def hear(self, message: Message) -> None:
        self.said.append(message.text)

    def connect(self, host: Host, volume_node: Any = None) -> Connection:
        volume_node = host.volume_node if volume_node is None else volume_node
        session = LocalSession(ThresholdBackbone())
        return Connection(session, volume_node, host.segmentation_node, host.calls.put, self.changed.append, self.hear)


def turn(host: Host) -> None:
    """What waits for the main thread."""
    for _ in range(host.calls.qsize()):
        host.calls.get()()


def test_many_changes_are_told_once(host: Host) -> None:
    told = Told()
    connection = told.connect(host)
    connection.tell_all()
    connection.segmenter.add_segment("rod")
    assert told.changed == []
    turn(host)
    (changed,) = told.changed
    assert changed == sorted(ALL)
    connection.segmenter.rename_segment(connection.segmenter.active_segment or "", "other")
    turn(host)
    assert "segments" in told.changed[1]
    connection.close().close(cancel=True)


def test_prompts_are_restored_and_shown_and_let_go(scene: Any, host: Host) -> None:
    host.segmenter.add_segment("rod")
    host.segmenter.add_prompt(host.box(4))
    host.settle()
    remembered, voxels = host.segmenter.remembered(), host.all_voxels()
    told = Told()
    connection = told.connect(host)
    shown = lambda: scene.GetNumberOfNodesByClass("vtkMRMLMarkupsROINode")  # noqa: E731
    assert shown() == 0
    connection.segmenter.restore(remembered)
    assert [prompt.id for prompt in connection.segmenter.prompts()] == [p.id for p in host.segmenter.prompts()]
    assert shown() == 1
    connection.segmenter.changed("history")
    session = connection.close()
    turn(host)
    assert told.changed == []  # nobody is there any more
    assert shown() == 0
    assert all(np.array_equal(mask, voxels[id]) for id, mask in host.all_voxels().items())
    assert session.export_prompts().objects  # it still is what it was; closing it is the host's
    session.close(cancel=True)


def test_sentences_are_passed_on(host: Host) -> None:
    told = Told()
    connection = told.connect(host)
    connection.segmenter.said(Message("Hello."))
    assert told.said == ["Hello."]
    connection.close().close(cancel=True)


def test_an_image_that_cannot_be_segmented_leaves_no_session(
    scene: Any, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []
    monkeypatch.setattr(LocalSession, "close", lambda self, cancel=False: closed.append(cancel))
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(AutoPromptSAMError, match="has no voxels"):
        Told().connect(host, empty)
    assert closed == [True]
