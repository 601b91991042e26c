"""LoRA on a backbone (Hu et al. 2021), by ``peft``: small trained additions to the attention's q and v.

While it is on, PyTorch runs the changed network; switched off, the original modules are back in place, so that every
answer is bit for bit that of the backbone alone, by whichever engine runs it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from AutoPromptSAMLib.backbones.checkpoint import load_strict
from AutoPromptSAMLib.backbones.sam_family import SamBackbone
from AutoPromptSAMLib.backbones.tensor_file import (
    content_sha256,
    header_for,
    read_tensors,
    require_backbone,
    write_tensors,
)
from AutoPromptSAMLib.errors import ModelError

KIND = "LoRA adapter"

# q and v of the decoder's attention; of the encoder's the fused qkv, so that k is adapted, too.
TARGETS = r"image_encoder\.(.*\.)?qkv|(sam_)?mask_decoder\.transformer\..*\.(q_proj|v_proj)"
RANK = 4  # SAMed's

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class LoraAdapter:
    """A named adapter of one backbone; made switched on, and changing nothing until it is trained.

    Raises ModelError when ``peft`` is missing, the name is not made of letters, digits, - and _, or the backbone has
    another adapter switched on.
    """

    def __init__(self, backbone: SamBackbone, name: str = "lora", rank: int = RANK) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
            from peft.tuners.lora import LoraLayer
        except ImportError as error:
            raise ModelError("LoRA needs the optional package peft; install it with `pip install peft`.") from error
        if not _NAME.fullmatch(name):
            raise ModelError(f"An adapter cannot be called {name!r}; use letters, digits, - and _ only.")
        network: nn.Module = backbone.network
        if any(isinstance(module, LoraLayer) for module in network.modules()):
            raise ModelError("The model has another LoRA adapter switched on; switch that off first.")
        self.backbone, self.name, self.rank = backbone, name, rank
        self._plain_fingerprint = backbone.fingerprint
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS), network, name)
        # Left behind by peft, it would count as a second adapter the next time.
        del network.peft_config
        layers: dict[str, Any] = {p: m for p, m in network.named_modules() if isinstance(m, LoraLayer)}
        self._places: list[tuple[nn.Module, str, Any]] = [
            (network.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2], layer)
            for path, layer in layers.items()
        ]
        # The additions alone, for training, saving and loading.
        self._own = nn.ModuleDict(
            {
                path.replace(".", "/"): nn.ModuleList([layer.lora_A[name], layer.lora_B[name]])
                for path, layer in layers.items()
            }
        )
        self._own.to(backbone.device)
        self.is_on = True
        self.switch(True)

    def parameters(self) -> list[nn.Parameter]:
        """What is trained."""
        return list(self._own.parameters())

    def switch(self, on: bool) -> None:
        """Put the adapted modules in place, or the backbone's own.

        The backbone's fingerprint is that of the weights as they are now, so that features cached with others are not
        found; switch on again after training.
        """
        for parent, child, layer in self._places:
            setattr(parent, child, layer if on else layer.get_base_layer())
        self.is_on = on
        changed = f"/{self.name}-{content_sha256(self._own.state_dict())[:16]}" if on else ""
        self.backbone.fingerprint = self.backbone.features_fingerprint = self._plain_fingerprint + changed

    def save(self, path: Path) -> str:
        """Write the additions alone; returns their sha256. Raises StorageError when the file cannot be written."""
        header = header_for(self.backbone, KIND, {"name": self.name, "rank": self.rank}, None)
        return write_tensors(path, replace(header, fingerprint=self._plain_fingerprint), self._own.state_dict())

    @staticmethod
    def load(path: Path, backbone: SamBackbone) -> LoraAdapter:
        """The adapter in a file, switched on.

        Raises ModelError when the file is missing, damaged, something else, or made for another backbone; then the
        backbone is as before.
        """
        header, tensors = read_tensors(path, KIND)
        require_backbone(header, path, backbone)
        adapter = LoraAdapter(backbone, str(header.config.get("name")), int(header.config.get("rank", RANK)))
        try:
            load_strict(adapter._own, tensors, path.name)
        except ModelError:
            adapter.switch(False)
            raise
        adapter._own.to(backbone.device)
        adapter.switch(True)
        return adapter
