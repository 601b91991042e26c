"""What a remote session and its server send each other: values as JSON with arrays behind it. Nothing is unpickled.

A frame is two lengths (uint32, little endian), a JSON text and the bytes of the arrays in it. Masks travel as packed
bits, everything compressed: an organ on a slice of 512 x 512 pixels takes less than 1 KB.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import (
    AutoPromptSAMError,
    Cancelled,
    DownloadError,
    GeometryError,
    ImageError,
    ModelError,
    PromptError,
    StorageError,
)
from AutoPromptSAMLib.geometry import Crop, Plane, VolumeGeometry
from AutoPromptSAMLib.loops.job import Progress
from AutoPromptSAMLib.prompts import Prompt
from AutoPromptSAMLib.prompts.types import prompt_from_json, prompt_to_json
from AutoPromptSAMLib.session.grey import GreyCrop
from AutoPromptSAMLib.session.protocol import (
    AutomaticResult,
    PropagationResult,
    RefinedSlice,
    RefinedStep,
    RefineResult,
    Review,
    SliceResult,
    SliceReview,
)
from AutoPromptSAMLib.supports.errors import SupportError
from AutoPromptSAMLib.training.preview import Preview

PROTOCOL = 1  # grows with every change that the other end would misunderstand
PROTOCOL_HEADER = "AutoPromptSAM-Protocol"
CHUNK = 4 * 2**20  # bytes of an image or a set of supports that are sent at a time, before compression
FRAME_TYPE = "application/octet-stream"
IMAGE_TYPES = ("|b1", "|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f4", "<f8")

_MOST_FRAME = 512 * 2**20  # bytes
_MOST_VALUES = 2**31  # of one array
_LENGTHS = struct.Struct("<II")
_ARRAY_TYPES = ("|b1", "|u1", "<f4", "<f8")
_LEVEL = 1  # of zlib: packed bits of masks are no smaller at a higher one, and take longer

_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        AutomaticResult,
        Crop,
        GreyCrop,
        Plane,
        Preview,
        Progress,
        PropagationResult,
        RefinedSlice,
        RefinedStep,
        RefineResult,
        Review,
        SliceResult,
        SliceReview,
        VolumeGeometry,
    )
}


class RemoteError(AutoPromptSAMError):
    """The server is out of reach, refuses, or failed; prompts and masks at the client are as they were."""


class WireError(RemoteError):
    """Bytes that are no frame, or a frame that holds something else than it should."""

    def __init__(self, what: str) -> None:
        super().__init__(f"What came over the network is damaged ({what}); try again.")


_ERRORS: dict[str, type[AutoPromptSAMError]] = {
    cls.__name__: cls
    for cls in (
        AutoPromptSAMError,
        Cancelled,
        DownloadError,
        GeometryError,
        ImageError,
        ModelError,
        PromptError,
        RemoteError,
        StorageError,
        SupportError,
    )
}


def error_to_json(error: BaseException) -> dict[str, Any]:
    """An error with its sentence; of one that is no sentence for people, only its kind is told."""
    if not isinstance(error, AutoPromptSAMError):
        text = f"The server failed at this ({type(error).__name__}); try again, and look at its log if that repeats."
        return {"kind": RemoteError.__name__, "text": text}
    kind = next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _ERRORS)
    return {"kind": kind, "text": str(error), "goes_on": error.goes_on if isinstance(error, Cancelled) else True}


def error_from_json(data: Any) -> AutoPromptSAMError:
    """Inverse of ``error_to_json``: the same kind with the same sentence."""
    try:
        kind, text = _ERRORS[data["kind"]], data["text"]
        if not isinstance(text, str):
            raise TypeError
        return Cancelled(text, bool(data["goes_on"])) if kind is Cancelled else kind(text)
    except (KeyError, TypeError):
        return RemoteError("The server failed and did not say why; try again, and look at its log if that repeats.")


def pack(value: Any) -> bytes:
    """One frame. Takes None, texts, numbers, lists, mappings, arrays of ``_ARRAY_TYPES``, prompts and ``_CLASSES``.

    Raises TypeError for anything else.
    """
    body: list[bytes] = []
    text = json.dumps(_encoded(value, body), separators=(",", ":")).encode()
    return b"".join([_LENGTHS.pack(len(text), sum(map(len, body))), text, *body])


def unpack(frame: bytes) -> Any:
    """The value of exactly one frame, lists as tuples; WireError when it is damaged.

    Raises the errors of the classes in it, as GeometryError for a crop before the first voxel.
    """
    values = list(FrameReader().feed(frame))
    if len(values) != 1:
        raise WireError("its end is missing")
    return values[0]


class FrameReader:
    """Frames out of a stream of bytes that comes in pieces."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, piece: bytes) -> Iterator[Any]:
        """The values of the frames that ``piece`` completes."""
        self._bytes += piece
        while len(self._bytes) >= _LENGTHS.size:
            text, body = _LENGTHS.unpack_from(self._bytes)
            if text + body > _MOST_FRAME:
                raise WireError("it is too large")
            start, end = _LENGTHS.size + text, _LENGTHS.size + text + body
            if len(self._bytes) < end:
                return
            content = bytes(self._bytes[_LENGTHS.size : end])
            del self._bytes[:end]
            yield _frame_value(content[: start - _LENGTHS.size], content[start - _LENGTHS.size :])


def _frame_value(text: bytes, body: bytes) -> Any:
    try:
        return _decoded(json.loads(text), body)
    except AutoPromptSAMError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError, RecursionError) as error:
        raise WireError(f"{type(error).__name__} in a frame") from None


def _encoded(value: Any, body: list[bytes]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_encoded(each, body) for each in value]
    if isinstance(value, Mapping):
        return {"$": "map", "of": [[_encoded(key, body), _encoded(each, body)] for key, each in value.items()]}
    if isinstance(value, np.ndarray):
        return _array_encoded(value, body)
    if isinstance(value, Prompt):
        return {"$": "prompt", "of": prompt_to_json(value)}
    name = type(value).__name__
    if _CLASSES.get(name) is type(value) and is_dataclass(value):
        return {"$": name, "of": {each.name: _encoded(getattr(value, each.name), body) for each in fields(value)}}
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _decoded(data: Any, body: bytes) -> Any:
    if isinstance(data, list):
        return tuple(_decoded(each, body) for each in data)
    if not isinstance(data, dict):
        return data
    kind, of = data["$"], data["of"]
    if kind == "map":
        return {_decoded(key, body): _decoded(each, body) for key, each in of}
    if kind == "array":
        return _array_decoded(of, body)
    if kind == "prompt":
        return prompt_from_json(of)
    cls = _CLASSES[kind]
    return cls(**{name: _decoded(each, body) for name, each in of.items()})


def _array_encoded(array: NDArray[Any], body: list[bytes]) -> dict[str, Any]:
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    if array.dtype.str not in _ARRAY_TYPES:
        raise TypeError(f"an array of {array.dtype} cannot be sent")
    packed = np.packbits(array) if array.dtype == bool else array
    start = sum(map(len, body))
    body.append(zlib.compress(packed.tobytes(), _LEVEL))
    at = [start, start + len(body[-1])]
    return {"$": "array", "of": {"dtype": array.dtype.str, "shape": list(array.shape), "at": at}}


def _array_decoded(of: Any, body: bytes) -> NDArray[Any]:
    shape, (start, end) = of["shape"], of["at"]
    if of["dtype"] not in _ARRAY_TYPES or any(type(n) is not int or n < 0 for n in (*shape, start, end)):
        raise ValueError
    dtype, count = np.dtype(of["dtype"]), math.prod(shape)
    is_mask = dtype.kind == "b"
    size = (count + 7) // 8 if is_mask else count * dtype.itemsize
    if len(shape) > 4 or count > _MOST_VALUES or end > len(body):
        raise ValueError
    content = inflated(body[start:end], size)
    if is_mask:
        return np.unpackbits(np.frombuffer(content, np.uint8), count=count).astype(bool).reshape(shape)
    return np.frombuffer(content, dtype).reshape(shape).copy()  # which one may write into, as locally


def inflated(content: bytes, size: int) -> bytes:
    """Compressed bytes that must become exactly ``size`` ones; WireError, without unpacking more, when they do not."""
    machine = zlib.decompressobj()
    try:
        plain = machine.decompress(content, size + 1)
    except zlib.error:
        raise WireError("its bytes changed on the way") from None
    if len(plain) != size or not machine.eof:
        raise WireError("it has another length than it says")
    return plain
