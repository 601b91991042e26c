"""What is wrong with a dataset, and with which pair of it."""

from __future__ import annotations

from AutoPromptSAMLib.errors import AutoPromptSAMError


class DatasetError(AutoPromptSAMError):
    """A dataset, or one pair of it, cannot be used as it is.

    ``dataset``: its name, or the path of its file as long as no name is known. ``pair``: id of the pair, or "".
    ``reason``: a sentence without either, which says what is wrong and what to do.
    """

    def __init__(self, dataset: str, pair: str, reason: str) -> None:
        super().__init__(f"Dataset {dataset}, pair {pair}: {reason}" if pair else f"Dataset {dataset}: {reason}")
        self.dataset, self.pair, self.reason = dataset, pair, reason

    def __reduce__(self) -> tuple[type[DatasetError], tuple[str, str, str]]:
        # Exceptions pickle with their message alone, which would lose a worker process's error.
        return type(self), (self.dataset, self.pair, self.reason)
