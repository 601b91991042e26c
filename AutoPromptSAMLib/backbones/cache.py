"""Encoded images kept in memory and on disk, by content, so that no image is ever encoded twice.

The folder may be shared by processes: files appear by an atomic rename, disappear at any time, and a damaged one
counts as absent. An entry of a SAM-like model is 4 MB (256×64×64 float32), of SAM 2 16 MB.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.backbones.base import Backbone, Features, Frame
from AutoPromptSAMLib.errors import StorageError

logger = logging.getLogger(__name__)

# A CT of 133 slices takes 0.5 GiB; the disk holds eight of them. Choices.
MEMORY_BYTES = 512 * 2**20
DISK_BYTES = 4 * 2**30

_FORMAT = "autopromptsam-features/1"
_SUFFIX = ".safetensors"
# A process that was killed while writing leaves its temporary file; none takes this long to write.
_STALE_SECONDS = 3600.0


def feature_key(fingerprint: str, image: np.ndarray) -> str:
    """Hexadecimal key of an image (its values, shape and type) of a backbone with this fingerprint of features."""
    digest = hashlib.sha256(f"{fingerprint}\n{image.shape}\n{image.dtype.str}\n".encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


class EmbeddingCache:
    """Least recently used features go first, from memory and from disk, when there are more bytes than allowed.

    ``folder`` None keeps nothing on disk. Where the disk is full or not writable, one warning is logged and the cache
    goes on in memory. Features come back on the CPU; do not write into them. Safe to use from several threads.
    """

    def __init__(self, folder: Path | None, memory_bytes: int = MEMORY_BYTES, disk_bytes: int = DISK_BYTES) -> None:
        self.folder = folder
        self.memory_bytes = memory_bytes
        self.disk_bytes = disk_bytes
        self._memory: OrderedDict[str, Features] = OrderedDict()
        self._lock = threading.Lock()
        self._warned = False

    def get(self, key: str) -> Features | None:
        """The features stored under ``key``, None when there are none or their file is damaged."""
        with self._lock:
            if key in self._memory:
                self._memory.move_to_end(key)
                return self._memory[key]
        features = self._read(key)
        if features is not None:
            self._remember(key, features)
        return features

    def put(self, key: str, features: Features) -> None:
        """Keep ``features`` under ``key``; an entry larger than a limit is not kept there."""
        features = features.map(lambda tensor: tensor.detach().cpu())
        self._remember(key, features)
        self._write(key, features)

    def get_or_encode(self, backbone: Backbone, image: np.ndarray) -> Features:
        """Features of one image (rows, cols, 3) uint8 on the backbone's device, encoded only when not yet stored.

        Raises what ``Backbone.encode`` raises.
        """
        key = feature_key(backbone.features_fingerprint, image)
        features = self.get(key)
        if features is None:
            features = backbone.encode([image])
            self.put(key, features)
        return features.to(backbone.device)

    def clear(self) -> None:
        """Forget everything, on disk too."""
        with self._lock:
            self._memory.clear()
        for path, _, _ in self._files():
            if not _unfinished(path):
                _discard(path)

    # -- memory -------------------------------------------------------------------------------------------------------

    def _remember(self, key: str, features: Features) -> None:
        with self._lock:
            self._memory[key] = features
            self._memory.move_to_end(key)
            used = sum(entry.nbytes for entry in self._memory.values())
            while used > self.memory_bytes:
                used -= self._memory.popitem(last=False)[1].nbytes

    # -- disk ---------------------------------------------------------------------------------------------------------

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{key}{_SUFFIX}"

    def _read(self, key: str) -> Features | None:
        path = self._path(key)
        if path is None:
            return None
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            features = _unpack(content)
        except Exception as error:
            # Whatever a parser makes of damaged bytes, the answer is the same: encode again.
            logger.warning("The damaged cache file %s is removed (%s).", path, error)
            _discard(path)
            return None
        try:
            os.utime(path)
        except OSError:
            logger.debug("%s went away or is not ours; it only ages faster.", path)
        return features

    def _write(self, key: str, features: Features) -> None:
        path = self._path(key)
        if path is None:
            return
        content = _pack(features)
        if len(content) > self.disk_bytes:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._make_room(len(content), keep=path)
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
        except (OSError, StorageError) as error:
            if not self._warned:
                self._warned = True
                logger.warning("Encoded images are kept in memory only, and not for the next start: %s", error)

    def _make_room(self, needed: int, keep: Path) -> None:
        files = sorted((file for file in self._files() if file[0] != keep), key=lambda file: file[2])
        used = sum(size for _, size, _ in files) + needed
        for path, size, modified in files:
            if time.time() - modified > _STALE_SECONDS if _unfinished(path) else used > self.disk_bytes:
                _discard(path)
                used -= size

    def _files(self) -> list[tuple[Path, int, float]]:
        """Path, size and time of use of all entries and of unfinished ones."""
        found: list[tuple[Path, int, float]] = []
        if self.folder is None or not self.folder.is_dir():
            return found
        for path in self.folder.glob(f"*{_SUFFIX}"):
            try:
                status = path.stat()
            except OSError:
                continue  # another process removed it
            found.append((path, status.st_size, status.st_mtime))
        return found


def _unfinished(path: Path) -> bool:
    """Whether this is the temporary file of a process that is writing, or was killed while it did."""
    return path.name.startswith(".")


def _discard(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # on Windows, while another process reads it
        logger.debug("%s could not be removed: %s", path, error)


def _pack(features: Features) -> bytes:
    tensors = {"embedding": features.embedding.float()}
    tensors |= {f"high_res.{n}": level.float() for n, level in enumerate(features.high_res)}
    tensors |= {f"extras.{name}": tensor for name, tensor in features.extras.items()}
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    frame = json.dumps(asdict(features.frame))
    return safetensors.torch.save(tensors, {"format": _FORMAT, "frame": frame, "checksum": _checksum(tensors, frame)})


def _unpack(content: bytes) -> Features:
    """Raises an exception of any kind unless ``content`` is exactly what ``_pack`` made."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    tensors = safetensors.torch.load(content)
    if header["format"] != _FORMAT or header["checksum"] != _checksum(tensors, header["frame"]):
        raise ValueError("its checksum or format differs")
    levels = sorted(name for name in tensors if name.startswith("high_res."))
    return Features(
        embedding=tensors["embedding"],
        frame=Frame(**json.loads(header["frame"])),
        high_res=tuple(tensors[name] for name in levels),
        extras={name[len("extras.") :]: tensors[name] for name in tensors if name.startswith("extras.")},
    )


def _checksum(tensors: Mapping[str, torch.Tensor], frame: str) -> str:
    """CRC-32 over the frame and all tensors: safetensors itself does not notice a flipped bit."""
    value = zlib.crc32(frame.encode())
    for name in sorted(tensors):
        value = zlib.crc32(name.encode(), value)
        value = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, value)
    return f"{value:08x}"
