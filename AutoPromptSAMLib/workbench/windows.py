"""The menu of windows (window and level): for the display of an image, and for what the model sees of it."""

from __future__ import annotations

from dataclasses import dataclass

from AutoPromptSAMLib.intensity import CT_PRESETS, WindowLevel, default_mapping
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter

AUTOMATIC, CUSTOM = "auto", "custom"
FIRST_OF_CT = "abdomen"


@dataclass(frozen=True)
class Window:
    """An entry of the menu."""

    id: str
    title: str


class WindowMenu:
    """For the volume node of a segmenter, which is no colour image; ``chosen`` is the id of an entry.

    A window that a person dragged in a view is the last entry, as long as it is the chosen one.
    """

    def __init__(self, segmenter: InteractiveSegmenter) -> None:
        self.volume_node = segmenter.volume_node
        is_ct = default_mapping(segmenter.volume).to_json()["type"] == "window"
        presets = [Window(name, name.capitalize()) for name in CT_PRESETS] if is_ct else []
        self.entries = [Window(AUTOMATIC, "Automatic"), *presets]
        self._presets = tuple(self.entries)
        self._shown: tuple[float, float] | None = None
        self.chosen = AUTOMATIC
        self.choose(FIRST_OF_CT if is_ct else AUTOMATIC)

    def choose(self, id: str) -> None:
        """Show the image in the window of an entry; one that was dragged is shown already."""
        display = self.volume_node.GetScalarVolumeDisplayNode()
        if id == CUSTOM or display is None:  # an image that was closed has none
            return
        self.chosen, self.entries = id, list(self._presets)
        self._shown = None  # the automatic one is found only when the display is told that it was changed
        was = display.StartModify()
        display.AutoWindowLevelOff()
        if id in CT_PRESETS:
            level, width = CT_PRESETS[id]
            display.SetWindowLevel(width, level)
        else:
            display.AutoWindowLevelOn()
        display.EndModify(was)
        self._shown = (display.GetWindow(), display.GetLevel())

    def look(self) -> bool:
        """Look at what the display has: whether that is another window than before, as after it was dragged."""
        display = self.volume_node.GetScalarVolumeDisplayNode()
        width, level = display.GetWindow(), display.GetLevel()
        if self._shown is None or (width, level) == self._shown:
            return False
        self._shown, self.chosen = (width, level), CUSTOM
        self.entries = [*self._presets, Window(CUSTOM, f"Level {level:.0f}, width {width:.0f}")]
        return True

    def show_to(self, segmenter: InteractiveSegmenter) -> None:
        """Let the model see the image in the chosen window; one that was dragged is for the eyes only."""
        if self.chosen != CUSTOM:
            segmenter.set_mapping(WindowLevel.preset(self.chosen) if self.chosen in CT_PRESETS else None)
