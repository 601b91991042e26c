"""What can be wrong with supports."""

from AutoPromptSAMLib.errors import AutoPromptSAMError


class SupportError(AutoPromptSAMError):
    """A set of supports is unknown or damaged, or an image and its masks do not fit together."""
