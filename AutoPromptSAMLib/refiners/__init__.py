"""Refiners: where a model is unsure, and prompts that mend themselves. Importing this package does not import torch.

The method of MedSAM-U (Zhou et al. 2024, "MedSAM-U: Uncertainty-Guided Auto Multi-Prompt Adaptation for Reliable
MedSAM"): an object is decoded from several jittered copies of its prompts in one batch (``estimate``: mean probability
and its entropy), and where that is unsure the prompts are changed, for as long as it makes the answer surer
(``refine``). It works after any prompter: all it needs is a box or a mask.
"""

from AutoPromptSAMLib.refiners.adaptation import Refinement, Step, refine
from AutoPromptSAMLib.refiners.expected import expected_dice, wrong_probability
from AutoPromptSAMLib.refiners.settings import Settings
from AutoPromptSAMLib.refiners.uncertainty import Estimate, estimate

__all__ = [
    "Estimate",
    "Refinement",
    "Settings",
    "Step",
    "estimate",
    "expected_dice",
    "refine",
    "wrong_probability",
]
