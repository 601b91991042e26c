"""What can go wrong with a benchmark."""

from AutoPromptSAMLib.errors import AutoPromptSAMError


class BenchError(AutoPromptSAMError):
    """A benchmark cannot run as it was asked for."""
