"""AutoPromptSAM: promptable medical segmentation that prompts itself.

Importing this package is cheap: torch and everything that needs it is imported inside the functions that use it.
"""

__version__ = "0.1.0"
