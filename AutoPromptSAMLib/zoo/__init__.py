"""Model cards, and the weights they name: fetched on request, verified, listed and deleted."""

from AutoPromptSAMLib.zoo.card import DEFAULT_MODEL, ModelCard, get_card, load_cards
from AutoPromptSAMLib.zoo.sample import SampleCT, sample_ct
from AutoPromptSAMLib.zoo.store import (
    Installed,
    ensure,
    expected_sha256,
    home,
    installed,
    is_installed,
    remove,
    verify,
    weights_path,
)

__all__ = [
    "DEFAULT_MODEL",
    "Installed",
    "ModelCard",
    "SampleCT",
    "ensure",
    "expected_sha256",
    "get_card",
    "home",
    "installed",
    "is_installed",
    "load_cards",
    "remove",
    "sample_ct",
    "verify",
    "weights_path",
]
