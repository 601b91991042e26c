"""What the benchmarks share: labelled images and a session with a cache on disk."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.backbones import load_backbone
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.evaluation.environment import machine_line as machine
from AutoPromptSAMLib.evaluation.metrics import dice
from AutoPromptSAMLib.geometry import Volume
from AutoPromptSAMLib.images import load_labels, load_volume
from AutoPromptSAMLib.prompts.simulators import tight_box
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.zoo import ensure, get_card
from AutoPromptSAMLib.zoo.sample import sample_ct
from AutoPromptSAMLib.zoo.store import home

__all__ = ["CACHE_BYTES", "Labelled", "Mask", "dice", "load", "machine", "open_session", "parser", "tight_box"]

Mask = NDArray[np.bool_]

# Every slice of a 512×512×133 CT along all three axes, encoded, is 4.6 GB.
CACHE_BYTES = 16 * 2**30


@dataclass(frozen=True, eq=False)
class Labelled:
    """An image and its label numbers (k, j, i), with the structures' label numbers by name."""

    volume: Volume
    labels: NDArray[np.integer]
    numbers: dict[str, int]

    def truth(self, name: str) -> Mask:
        """Voxels (k, j, i) of a structure."""
        return self.labels == self.numbers[name]


def load(image: Path | None, labels: Path | None, numbers: dict[str, int] | None = None) -> Labelled:
    """A pair of files with ``numbers``, or the sample CT when there is no ``image``."""
    if image is None:
        sample = sample_ct()
        image, labels, numbers = sample.image, sample.labels, {name: n for n, name in sample.names.items()}
    assert labels is not None
    assert numbers is not None
    volume = load_volume(image)
    return Labelled(volume, load_labels(labels, volume.geometry), numbers)


def open_session(model: str, volume: Volume) -> LocalSession:
    """A session on ``volume`` that keeps encoded slices in the library's home folder, runs in memory only."""
    ensure(get_card(model))
    session = LocalSession(load_backbone(model), EmbeddingCache(home() / "embeddings", disk_bytes=CACHE_BYTES))
    session.set_image(volume)
    return session


def parser(description: str) -> argparse.ArgumentParser:
    """Arguments that every benchmark takes."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--model", default="lite-medsam", help="name of a model card")
    arguments.add_argument("--out", type=Path, help="write the figures to this JSON file")
    return arguments
