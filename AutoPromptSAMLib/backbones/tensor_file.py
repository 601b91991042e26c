"""Weights of prompters and adapters on disk: a safetensors file that says what it is and what it was made for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.errors import ModelError

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.backbones.base import Backbone

_VERSION = 1


@dataclass(frozen=True)
class Header:
    """``kind`` of the weights, what they are built from (``config``), for which backbone, and anything else to know.

    ``sha256`` is that of the tensors' names, types, shapes and contents; it is computed when writing.
    """

    kind: str
    config: Mapping[str, Any]
    backbone: str
    fingerprint: str
    info: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""


def header_for(backbone: Backbone, kind: str, config: Mapping[str, Any], info: Mapping[str, Any] | None) -> Header:
    """The header of weights made for ``backbone``; ``info`` is anything JSON can hold."""
    return Header(kind, config, backbone.card.name, backbone.fingerprint, info or {})


def write_tensors(path: Path, header: Header, tensors: Mapping[str, torch.Tensor]) -> str:
    """Write them by an atomic rename and return their sha256.

    Raises StorageError when the file cannot be written (disk full, no permission).
    """
    from safetensors.torch import save

    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    digest = content_sha256(kept)
    said = {
        "kind": header.kind,
        "version": _VERSION,
        "config": dict(header.config),
        "backbone": header.backbone,
        "fingerprint": header.fingerprint,
        "info": dict(header.info),
        "sha256": digest,
    }
    content = save(kept, {"autopromptsam": json.dumps(said, sort_keys=True)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return digest


def read_tensors(path: Path, kind: str) -> tuple[Header, dict[str, torch.Tensor]]:
    """Header and tensors (on the CPU) of a file that ``write_tensors`` wrote.

    Raises ModelError when there is none, it is damaged, of another kind or of a newer version.
    """
    header, tensors = _read(path, kind, contents=True)
    if content_sha256(tensors) != header.sha256:
        raise ModelError(f"The weights in {path} are not those that were saved, so the file is damaged; get it again.")
    return header, tensors


def read_header(path: Path, kind: str) -> Header:
    """The header alone, which is quick; raises what ``read_tensors`` does, but for damaged tensors."""
    return _read(path, kind, contents=False)[0]


def _read(path: Path, kind: str, contents: bool) -> tuple[Header, dict[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"There are no weights at {path}; give the path of a {kind} file.")
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            names = stored.keys() if contents else ()
            tensors = {name: stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(
            f"The file {path} cannot be read, so it is damaged or no {kind} file; get it again."
        ) from error
    try:
        said = json.loads(metadata["autopromptsam"])
        version = int(said.pop("version"))
        if version <= _VERSION:
            header = Header(**said)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"The file {path} is no {kind} file of AutoPromptSAM; choose another file.") from error
    if version > _VERSION:
        raise ModelError(f"The file {path} was written by a newer version of AutoPromptSAM; update it.")
    if header.kind != kind:
        raise ModelError(f"The file {path} holds a {header.kind}, not a {kind}; choose another file.")
    return header, tensors


def require_backbone(header: Header, path: Path, backbone: Backbone) -> None:
    """Raises ModelError when the weights were made for another model, other weights of it or another preprocessing."""
    if header.fingerprint == backbone.fingerprint:
        return
    if header.backbone != backbone.card.name:
        raise ModelError(
            f"The {header.kind} {path.name} was made for {header.backbone} and cannot be used with "
            f"{backbone.card.name}; choose {header.backbone} as the model."
        )
    raise ModelError(
        f"The {header.kind} {path.name} was made for other weights or another preprocessing of {header.backbone}; "
        "get the weights that the model card names, or learn the task again."
    )


def content_sha256(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of names, types, shapes and contents, whatever their order."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
