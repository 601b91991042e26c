"""The sessions of all clients: each has its own thread, prompts and image; models and embeddings are shared."""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.intensity import mapping_from_json
from AutoPromptSAMLib.prompts import Prompt, PromptSet
from AutoPromptSAMLib.server.limits import Limits
from AutoPromptSAMLib.server.models import Models
from AutoPromptSAMLib.server.parcels import Parcels
from AutoPromptSAMLib.server.running import Running, Turn
from AutoPromptSAMLib.session.connection import Lacking
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.protocol import PropagationResult
from AutoPromptSAMLib.session.wire import IMAGE_TYPES, RemoteError, WireError
from AutoPromptSAMLib.supports import archive

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.supports import SupportSet

# What a client may call, with which of its callbacks.
CALLS: dict[str, tuple[str, ...]] = {
    "prepare": (),
    "segment": (),
    "propagate": ("on_progress", "on_slice"),
    "prompt_automatically": ("on_progress", "on_slice"),
    "learn": ("on_progress", "on_preview"),
    "review": ("on_progress", "on_slice"),
    "refine": ("on_progress", "on_slice"),
    "carry": ("on_progress", "on_slice"),
}
_SETS = 4  # sets of examples that a session keeps open: the one in use, and one that is learned from


class ServedSession(LocalSession):
    """A local session whose prompts are those that come with each job."""

    def take(self, prompts: Mapping[str, tuple[Prompt, ...]], known: Mapping[str, PropagationResult]) -> None:
        """Go by these prompts and by what was found before; jobs that run keep what they were started with."""
        self._objects = {name: PromptSet(each) for name, each in prompts.items()}
        self._propagated = dict(known)


class Desk:
    """A client's session, and what it was last given."""

    def __init__(self, session: ServedSession) -> None:
        self.session = session
        self.turn = Turn()
        self.jobs: dict[str, Running] = {}
        self.used = time.monotonic()
        self._lock = threading.Lock()
        self._image: tuple[Any, Volume] | None = None
        self._mapping: Any = None
        self._in_use: str | None = None
        self._sets: OrderedDict[str, tuple[SupportSet, AbstractContextManager[SupportSet]]] = OrderedDict()

    def start(self, id: str, request: Mapping[str, Any], parcels: Parcels, running: Running) -> None:
        """Hand the session a job; Lacking when something has to be sent first, else what the session raises."""
        call, arguments = request["call"], dict(request["arguments"])
        if call not in CALLS:
            raise WireError("an unknown call")
        self.used = time.monotonic()
        with self._lock:
            self._see_to_image(request["image"], parcels)
            if request["supports"] is not None:
                supports = self._supports(request["supports"], parcels)
                if call == "learn":
                    arguments["supports"] = supports
                elif self._in_use != request["supports"]:
                    self.session.set_supports(supports)
                    self._in_use = request["supports"]
            self.session.take(request["prompts"], _known(request["known"], arguments.get("name")))
            before = self.jobs.get(id)
            if before is not None:  # the client has asked twice, having lost the first answer
                before.cancel()
            self._submit(id, call, arguments, request, running)

    def _submit(
        self, id: str, call: str, arguments: dict[str, Any], request: Mapping[str, Any], running: Running
    ) -> None:
        callbacks: dict[str, Callable[..., None]] = {}
        for name in CALLS[call]:
            if name == "on_progress" and request["progress"]:
                callbacks[name] = lambda progress: running.tell("progress", progress)
            elif name != "on_progress" and request["slices"]:
                callbacks[name] = lambda *values: running.tell("slice", *values)
        is_click = call == "segment"

        def ended() -> None:
            self.used = time.monotonic()
            if self.jobs.get(id) is running:
                del self.jobs[id]
            if is_click:
                self.turn.add(-1)

        running.on_end = ended
        self.jobs[id] = running
        if is_click:
            self.turn.add(1)
        try:
            running.job = getattr(self.session, call)(**arguments, **callbacks, on_done=running.finished)
        except BaseException:
            ended()
            raise

    def close(self) -> None:
        """Cancel all that runs and end the session's thread."""
        for running in list(self.jobs.values()):
            running.cancel()
        self.session.close(cancel=True)
        while self._sets:
            self._close_oldest_set()

    def _see_to_image(self, said: Mapping[str, Any] | None, parcels: Parcels) -> None:
        if said is None:
            return
        key = (said["parcel"], said["dtype"], said["colour"], said["geometry"])
        mapping = mapping_from_json(said["mapping"])
        if self._image is None or self._image[0] != key:
            content = parcels.get(said["parcel"])
            if content is None:
                raise Lacking([said["parcel"]])
            volume = _volume(content, said["dtype"], said["colour"], said["geometry"])
            self.session.set_image(volume, mapping)
            self._image = (key, volume)
        elif mapping != self._mapping:
            self.session.set_mapping(mapping)
        self._mapping = mapping

    def _supports(self, digest: str, parcels: Parcels) -> SupportSet:
        if digest not in self._sets:
            content = parcels.get(digest)
            if content is None:
                raise Lacking([digest])
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "set.apsupports"
                file.write_bytes(content)
                opening = archive.opened(file)  # keeps what it unpacks until it is closed
                self._sets[digest] = (opening.__enter__(), opening)
            while len(self._sets) > _SETS:
                self._close_oldest_set()
        self._sets.move_to_end(digest)
        return self._sets[digest][0]

    def _close_oldest_set(self) -> None:
        _, (_, opening) = self._sets.popitem(last=False)
        opening.__exit__(None, None, None)


class Desks:
    """All sessions by their ids, which clients choose at random. ``cache`` and ``runs_folder`` are shared by all."""

    def __init__(self, models: Models, limits: Limits, cache: EmbeddingCache | None, runs_folder: Path | None) -> None:
        self._models, self._limits = models, limits
        self._cache, self._runs_folder = cache, runs_folder
        self._desks: dict[tuple[str, str], Desk] = {}
        self._lock = threading.Lock()

    def at(self, id: str, request: Mapping[str, Any]) -> Desk:
        """The desk for a request, new if need be.

        ModelError when the model is not the one that the client knows, RemoteError when there are too many sessions.
        """
        backbone = self._models.get(request["model"])
        if backbone.fingerprint != request["fingerprint"]:
            raise ModelError(
                f"The server now has other weights of {backbone.card.name} than at first; open the session anew."
            )
        with self._lock:
            key = (id, backbone.card.name)
            if key not in self._desks:
                if len(self._desks) >= self._limits.sessions:
                    raise RemoteError("The server has as many sessions as it takes; try again in some minutes.")
                self._desks[key] = Desk(self._session(backbone))
            return self._desks[key]

    def running(self, id: str, job: str) -> Running | None:
        """A job that has not ended."""
        with self._lock:
            own = [desk for (session, _), desk in self._desks.items() if session == id]
        return next((desk.jobs[job] for desk in own if job in desk.jobs), None)

    def forget(self, id: str) -> None:
        """End a session; nothing happens when there is none."""
        with self._lock:
            ending = [self._desks.pop(key) for key in list(self._desks) if key[0] == id]
        for desk in ending:
            desk.close()

    def forget_idle(self) -> None:
        """End the sessions that nobody used for longer than the limits say."""
        oldest = time.monotonic() - self._limits.idle
        with self._lock:
            idle = [key for key, desk in self._desks.items() if not desk.jobs and desk.used < oldest]
        for id, _ in idle:
            self.forget(id)

    def close(self) -> None:
        """End all sessions."""
        for id in {id for id, _ in self._desks}:
            self.forget(id)

    def __len__(self) -> int:
        return len(self._desks)

    def _session(self, backbone: Backbone) -> ServedSession:
        return ServedSession(backbone, self._cache, self._runs_folder)


def _volume(content: memoryview, dtype: str, colour: bool, geometry: Any) -> Volume:
    """An image on the bytes that were sent, without copying them; without a name, which stayed at the client."""
    if dtype not in IMAGE_TYPES or not isinstance(geometry, VolumeGeometry):
        raise WireError("an image of an unknown kind")
    shape = (*geometry.shape, 3) if colour else geometry.shape
    if math.prod(shape) * np.dtype(dtype).itemsize != len(content):
        raise WireError("an image of another size than it says")
    return Volume(np.frombuffer(content, dtype).reshape(shape), geometry)


def _known(said: Mapping[str, Any] | None, name: Any) -> dict[str, PropagationResult]:
    """What the client knows of how the object was found."""
    if said is None:
        return {}
    return {name: PropagationResult(name, Crop.empty(), said["axis"], said["agreement"], (), 0, True)}
