"""The models of a server, loaded when the first client asks, one copy for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from AutoPromptSAMLib.errors import ModelError

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone


class Models:
    """``load`` makes a backbone by its model's name; the first name is what clients get that name none.

    Several sessions use a backbone at a time: its weights are never written to, and an engine that takes one image at
    a time has a lock of its own.
    """

    def __init__(self, load: Mapping[str, Callable[[], Backbone]]) -> None:
        self._load = dict(load)
        self._loaded: dict[str, Backbone] = {}
        self._lock = threading.Lock()

    @staticmethod
    def of_zoo(names: Sequence[str], device: str) -> Models:
        """Models of the zoo on a device; ModelError for one that there is not or whose weights are not here."""
        from AutoPromptSAMLib.backbones import load_backbone
        from AutoPromptSAMLib.zoo import get_card, is_installed

        for name in names:
            if not is_installed(get_card(name)):
                raise ModelError(
                    f"The weights of {name} are not on this machine; run `autopromptsam models fetch {name}`."
                )
        # A default argument, because a name in a closure would be the last one for all.
        return Models({name: lambda name=name: load_backbone(name, device) for name in names})  # type: ignore[misc]

    def get(self, name: str) -> Backbone:
        """The model ``name``, the first for ""; ModelError for one that this server does not have."""
        name = name or next(iter(self._load))
        if name not in self._load:
            raise ModelError(f'This server has no model "{name:.60}"; choose one of {", ".join(self._load)}.')
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load[name]()
            return self._loaded[name]
