"""The errors that reach a person: each message is one sentence that says what is wrong and what to do."""


class AutoPromptSAMError(Exception):
    """Base of every error a user can cause; hosts show ``str(error)`` and nothing else."""


class ImageError(AutoPromptSAMError):
    """The image cannot be segmented as it is (empty, not finite, wrong number of dimensions, unreadable)."""


class GeometryError(AutoPromptSAMError):
    """Two geometries do not fit, or one cannot be worked with (sheared, singular, non-linear)."""


class PromptError(AutoPromptSAMError):
    """A prompt is outside the image, empty, or malformed."""


class ModelError(AutoPromptSAMError):
    """A model is unknown, its weights are missing, damaged or not the ones its card names."""


class DownloadError(AutoPromptSAMError):
    """A download failed; running it again resumes."""


class StorageError(AutoPromptSAMError):
    """A file could not be written (disk full, no permission)."""


class Cancelled(AutoPromptSAMError):  # noqa: N818 - it is an outcome, not a fault
    """The user cancelled; what was finished before is kept, and doing the same again ``goes_on`` from there or not."""

    def __init__(self, message: str, goes_on: bool = True) -> None:
        super().__init__(message)
        self.goes_on = goes_on
