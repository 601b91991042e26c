"""What a remote session has its server do: one request a job, the answer followed while it comes."""

from __future__ import annotations

import logging
import tempfile
import uuid
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from AutoPromptSAMLib.atomic import storage_error
from AutoPromptSAMLib.errors import AutoPromptSAMError
from AutoPromptSAMLib.geometry import Volume
from AutoPromptSAMLib.loops.job import Control, Progress
from AutoPromptSAMLib.prompts import Prompt
from AutoPromptSAMLib.session.connection import Answer, Connection, Lacking, Parcel
from AutoPromptSAMLib.session.image import SessionImage
from AutoPromptSAMLib.session.protocol import PropagationResult
from AutoPromptSAMLib.session.wire import PROTOCOL, RemoteError, error_from_json, pack

if TYPE_CHECKING:
    from AutoPromptSAMLib.supports import SupportSet

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.02  # how often a job that waits for its server sees to a cancel or a click; a choice
_PATIENCE_SECONDS = 5.0  # for words that only hurry things up; a choice
_LOADING_SECONDS = 60.0  # a server loads a model when the first client asks for it; a choice
_MOST_ATTEMPTS = 4  # to send what a server says it lacks, before it counts as too small for it


@dataclass(frozen=True)
class About:
    """A server as its clients see it. ``device`` is in words: "the GPU (NVIDIA ...)"; ``fingerprint`` the weights'."""

    address: str
    model: str
    title: str
    device: str
    fingerprint: str
    version: str


@dataclass(frozen=True, eq=False)
class Errand:
    """A call of a session's method ``call`` with ``arguments``, and what it goes by.

    ``known``: what was found before of the object. ``on_event`` gets the values of every slice (or preview) that the
    server tells of, ``on_part`` the bytes of a file, piece by piece.
    """

    call: str
    arguments: Mapping[str, Any]
    image: SessionImage | None = None
    prompts: Mapping[str, tuple[Prompt, ...]] = field(default_factory=dict)
    supports: SupportSet | None = None
    known: PropagationResult | None = None
    progress: bool = False
    on_event: Callable[..., None] | None = None
    on_part: Callable[[bytes], None] | None = None


class Errands:
    """The server's side of one session. ``run`` is called on the session's thread, also from within another ``run``.

    ``ahead``: how many slices and words of progress the server may be ahead of this side. 0 makes a cancel as exact as
    a local one, and costs the way to the server and back for each. ``on_sending`` gets the progress in MB while
    something is sent.
    """

    def __init__(
        self, connection: Connection, model: str | None, ahead: int, on_sending: Callable[[Progress], None] | None
    ) -> None:
        self._connection = connection
        self._ahead = ahead
        self._on_sending = on_sending
        self._path = f"/v1/sessions/{uuid.uuid4().hex}"
        self._images: weakref.WeakKeyDictionary[Volume, Parcel] = weakref.WeakKeyDictionary()
        self._supports: weakref.WeakKeyDictionary[SupportSet, Parcel] = weakref.WeakKeyDictionary()
        self.about = self._introduced(model)

    def _introduced(self, model: str | None) -> About:
        said = self._connection.ask("GET", f"/v1/about?model={quote(model or '')}", patience=_LOADING_SECONDS)
        try:
            if said["protocol"] != PROTOCOL:
                raise RemoteError("The server and this program are of other versions; install the same on both.")
            texts = {name: str(said[name]) for name in ("model", "title", "device", "fingerprint", "version")}
        except (KeyError, TypeError):
            raise self._connection.stranger() from None
        return About(self._connection.address, **texts)

    def run(self, errand: Errand, control: Control) -> Any:
        """What the server answers; raises what the method would raise here, and RemoteError without a server."""
        parcels = {each.digest: each for each in self._parcels(errand)}
        path = f"{self._path}/jobs/{uuid.uuid4().hex}"
        for _ in range(_MOST_ATTEMPTS):
            try:
                answer = self._connection.open(path, self._request(errand))
            except Lacking as lacking:
                for digest in lacking.digests:
                    self._send(parcels[digest], control)
                continue
            try:
                return self._follow(answer, errand, control, path)
            finally:
                answer.close()
        raise RemoteError("The server has no room for this image; ask who runs it, or try again later.")

    def close(self) -> None:
        """Tell the server that it may forget the session, and let go of it."""
        with suppress(AutoPromptSAMError):  # it forgets by itself, later
            self._connection.ask("DELETE", self._path, patience=_PATIENCE_SECONDS)
        self._connection.close()

    # -- what goes there ----------------------------------------------------------------------------------------------

    def _request(self, errand: Errand) -> bytes:
        image = errand.image
        return pack(
            {
                "call": errand.call,
                "arguments": errand.arguments,
                "model": self.about.model,
                "fingerprint": self.about.fingerprint,
                "image": None if image is None else self._described(image),
                "prompts": errand.prompts,
                "supports": None if errand.supports is None else self._support_parcel(errand.supports).digest,
                "known": errand.known and {"axis": errand.known.axis, "agreement": errand.known.agreement},
                "progress": errand.progress,
                "slices": errand.on_event is not None,
                "ahead": self._ahead,
            }
        )

    def _described(self, image: SessionImage) -> dict[str, Any]:
        """An image without its voxels; names and other data of a patient stay here."""
        volume = image.volume
        return {
            "parcel": self._image_parcel(volume).digest,
            "dtype": volume.array.dtype.newbyteorder("<").str,
            "colour": volume.is_colour,
            "geometry": volume.geometry,
            "mapping": image.mapping.to_json(),
        }

    def _parcels(self, errand: Errand) -> list[Parcel]:
        image = [] if errand.image is None else [self._image_parcel(errand.image.volume)]
        return image + ([] if errand.supports is None else [self._support_parcel(errand.supports)])

    def _image_parcel(self, volume: Volume) -> Parcel:
        if volume not in self._images:
            self._images[volume] = Parcel.of_volume(volume)
        return self._images[volume]

    def _support_parcel(self, supports: SupportSet) -> Parcel:
        if supports not in self._supports:
            here = {model: task for model, task in supports.tasks.items() if model == self.about.model}
            self._supports[supports] = Parcel.of_bytes("the examples", archived(replace(supports, tasks=here)))
        return self._supports[supports]

    def _send(self, parcel: Parcel, control: Control) -> None:
        def tell(done: int, total: int) -> None:
            progress = Progress(round(done / 1e6), round(total / 1e6), f"Sending {parcel.what} to the server")
            if self._on_sending is not None:
                self._on_sending(progress)
            if progress.total > 1:  # else it is over before anybody has read it
                control.report(progress.done, progress.total, progress.text)

        self._connection.send(parcel, control, tell)

    # -- what comes back ----------------------------------------------------------------------------------------------

    def _follow(self, answer: Answer, errand: Errand, control: Control, path: str) -> Any:
        answer.alive = lambda: self._say(f"{path}/seen?count=0")
        seen = told = 0
        started = stopped = False
        while True:
            frame = answer.next(_LOOK_SECONDS)
            control.make_way()
            if frame is not None:
                started = True
                if frame["event"] == "end":
                    return frame["result"]
                if frame["event"] == "error":
                    raise error_from_json(frame["error"])
                seen += self._pass_on(frame, errand, control)
            if control.cancelled and started and not stopped:  # the server knows a job from its first frame on
                stopped = True
                self._say(f"{path}/cancel")
            elif seen - told > self._ahead // 2:
                told = seen
                self._say(f"{path}/seen?count={seen}")

    def _pass_on(self, frame: Mapping[str, Any], errand: Errand, control: Control) -> int:
        """Hand an event to who asked for it; how many of those that the server counts it was."""
        event = frame["event"]
        if event == "progress":
            progress = frame["values"][0]
            control.report(progress.done, progress.total, progress.text)
            return 1
        if event == "slice" and errand.on_event is not None:
            errand.on_event(*frame["values"])
            return 1
        if event == "part" and errand.on_part is not None:
            errand.on_part(frame["values"][0].tobytes())
        return 0

    def _say(self, path: str) -> None:
        try:
            self._connection.ask("POST", path, patience=_PATIENCE_SECONDS)
        except (AutoPromptSAMError, Lacking) as error:
            logger.debug("The server was not told %s: %s", path, error)  # the answer itself will end


def archived(supports: SupportSet) -> bytes:
    """A set as the bytes of one ``.apsupports`` file; SupportError when it is damaged."""
    import hashlib
    import shutil

    from AutoPromptSAMLib.supports import archive

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            own = dict(supports.tasks)
            for model, task in supports.tasks.items():
                if not task.is_file():
                    continue  # which the archive says
                # An archive takes networks that are called by their hashes, as in a library.
                own[model] = folder / f"{hashlib.sha256(task.read_bytes()).hexdigest()}.safetensors"
                shutil.copyfile(task, own[model])
            supports = replace(supports, tasks=own)
            return archive.write(supports, folder / "set").read_bytes()
        except OSError as error:
            raise storage_error(folder, error) from error
