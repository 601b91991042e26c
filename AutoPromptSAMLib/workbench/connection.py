"""An image, its segmentation and a session at work together, as long as they are the chosen ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter, Message
from AutoPromptSAMLib.mrml.prompt_nodes import PromptNodes

if TYPE_CHECKING:
    from AutoPromptSAMLib.session import Session

ALL = ("segments", "active", "prompts", "history", "status", "propagation", "learning", "review")


class Connection:
    """The segmenter on a session, and its prompts as nodes of the scene: made together, let go of together.

    ``call`` hands a function to the host's main thread. ``changed`` gets what is to be drawn anew (one of ``ALL``, or
    what the host told), once for all that happened until the next turn of that thread; ``said`` gets sentences for the
    person. ``logic`` and ``folder`` are for the segmenter and the nodes of its prompts. Raises AutoPromptSAMError for
    an image that cannot be segmented; the session is closed then.
    """

    def __init__(
        self,
        session: Session,
        volume_node: Any,
        segmentation_node: Any,
        call: Callable[[Callable[[], None]], None],
        changed: Callable[[Sequence[str]], None],
        said: Callable[[Message], None],
        logic: Any = None,
        folder: str = "",
    ) -> None:
        self.session = session
        self._call, self._changed, self._said = call, changed, said
        self._waiting: set[str] = set()
        self._is_open = True
        try:
            self.segmenter = InteractiveSegmenter(session, volume_node, segmentation_node, call, logic=logic)
        except AutoPromptSAMError:
            session.close(cancel=True)
            raise
        self._nodes = PromptNodes(self.segmenter, volume_node.GetScene(), folder)
        self.segmenter.changed.connect(self.tell)
        self.segmenter.said.connect(self._said)

    def tell(self, what: str) -> None:
        """Draw ``what`` anew, as when the segmenter says that it changed."""
        if not self._waiting:
            self._call(self._tell)
        self._waiting.add(what)

    def tell_all(self) -> None:
        """Draw everything anew."""
        for what in ALL:
            self.tell(what)

    def close(self) -> Session:
        """Let go of the scene; the session, which is the host's to close: one that is far away takes its time."""
        self._is_open = False
        self._nodes.close()
        self.segmenter.close()
        return self.session

    def _tell(self) -> None:
        waiting, self._waiting = sorted(self._waiting), set()
        if self._is_open:
            self._changed(waiting)
