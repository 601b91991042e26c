"""Sessions: one image, the prompts of its objects, and their masks. Importing this package does not import torch."""

from AutoPromptSAMLib.session.grey import GreyCrop
from AutoPromptSAMLib.session.protocol import (
    REACH,
    AutomaticResult,
    PropagationResult,
    RefinedSlice,
    RefinedStep,
    RefineResult,
    Review,
    Session,
    SliceResult,
    SliceReview,
)

__all__ = [
    "REACH",
    "AutomaticResult",
    "GreyCrop",
    "PropagationResult",
    "RefineResult",
    "RefinedSlice",
    "RefinedStep",
    "Review",
    "Session",
    "SliceResult",
    "SliceReview",
]
