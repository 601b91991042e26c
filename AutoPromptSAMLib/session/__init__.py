"""Sessions: one image, the prompts of its objects, and their masks. Importing this package does not import torch."""

from AutoPromptSAMLib.session.protocol import AutomaticResult, PropagationResult, Session, SliceResult

__all__ = ["AutomaticResult", "PropagationResult", "Session", "SliceResult"]
