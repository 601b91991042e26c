"""Read a checkpoint without unpickling code, and load it strictly, key by key."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from AutoPromptSAMLib.errors import ModelError

# Names under which published checkpoints wrap their weights: SAM 2 and the training scripts of LiteMedSAM.
_WRAPPERS = ("model", "state_dict")


def read_state_dict(path: Path, model: str) -> dict[str, torch.Tensor]:
    """Tensors of a ``.safetensors`` file or of a torch checkpoint, on the CPU.

    Torch checkpoints are read with ``weights_only=True``, so nothing in the file is run. ``model`` is the name used in
    messages. Raises ModelError when the file is damaged, holds pickled code or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Only the unpickler's refusal names weights_only; whatever else torch, zip or safetensors raise is damage.
        if "weights_only" in str(error):
            raise ModelError(
                f"The weights of {model} at {path} hold pickled Python code, which is never run; "
                "get the file from the source on the model card."
            ) from error
        raise ModelError(
            f"The weights of {model} at {path} cannot be read, so the file is damaged or incomplete; fetch it again."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    # A tensor saved on the "meta" device stays there when it is read: it has a shape and no content.
    if not isinstance(content, Mapping) or not all(
        isinstance(value, torch.Tensor) and not value.is_meta for value in content.values()
    ):
        raise ModelError(f"The file {path} is not a checkpoint of {model}: it holds something other than tensors.")
    return dict(content)


def load_strict(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    model: str,
    official_key: Callable[[str], str] = lambda key: key,
    ignored: Collection[str] = (),
) -> None:
    """Load ``state`` into ``module``; every key and every shape must match.

    ``official_key`` maps a key of ``module`` to its name in the checkpoint; ``ignored`` are checkpoint keys that the
    architecture knows but inference does not use. Raises ModelError naming the first key that does not fit; then
    ``module`` is unchanged.
    """
    own = module.state_dict()
    wanted = {official_key(key): key for key in own}
    advice = "so it is not this model or was changed; fetch the weights named on the model card."
    missing = [key for key in wanted if key not in state]
    if missing:
        raise ModelError(f"The weights of {model} lack '{missing[0]}' and {len(missing) - 1} more keys, {advice}")
    unexpected = [key for key in state if key not in wanted and key not in ignored]
    if unexpected:
        raise ModelError(
            f"The weights of {model} have the unknown key '{unexpected[0]}' and {len(unexpected) - 1} more, {advice}"
        )
    for key, own_key in wanted.items():
        if state[key].shape != own[own_key].shape:
            raise ModelError(
                f"The weights of {model} have the shape {tuple(state[key].shape)} instead of "
                f"{tuple(own[own_key].shape)} at '{key}', {advice}"
            )
    # assign: the large ViTs are built on the meta device, where there is nothing to copy into.
    cast = {own_key: state[key].to(own[own_key].dtype) for key, own_key in wanted.items()}
    module.load_state_dict(cast, strict=True, assign=True)
