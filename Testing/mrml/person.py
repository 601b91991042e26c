"""A host whose session finds what is bright in place of what examples show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.supports import SupportSet

from ..finds_bright import FindsBright
from .segmenting import Host


class Person(Host):
    """A host whose session finds what is bright."""

    def __init__(self, scene: Any) -> None:
        super().__init__(scene)
        self.segmenter.close()
        self.session.close()
        self.session: FindsBright = FindsBright()
        self.segmenter = InteractiveSegmenter(self.session, self.volume_node, self.segmentation_node, self.calls.put)
        self.said = []
        self._hear = lambda message: self.said.append(message.text)
        self.segmenter.said.connect(self._hear)

    def run(self, supports: SupportSet, *args: Any, **more: Any) -> None:
        self.segmenter.examples.run(supports, *args, **more)
        self.settle()

    def names(self) -> list[str]:
        return [info.name for info in self.segmenter.segments]


@contextmanager
def a_person(scene: Any) -> Iterator[Person]:
    """Somebody at work, whose session goes on at the end whatever was held up."""
    person = Person(scene)
    yield person
    person.session.pause.set()
    person.close()
