"""What a contender is shown, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.evaluation.proxy.cells import Mask

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Features


@dataclass(frozen=True, eq=False)
class Target:
    """A test image (rows, cols, 3) uint8, its features, and the truths (rows, cols), which only ``true-box`` sees."""

    features: Features
    image: NDArray[np.uint8]
    truths: Mapping[str, Mask]


Find = Callable[[Target], Mapping[str, Mask]]
