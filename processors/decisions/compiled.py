"""Loops that are compiled: a posterior over change points has no form as numpy columns.

Compiled code is kept beside its module, so only the first process after an installation compiles.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ints", "Mask", "compiled"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

Loop = TypeVar("Loop", bound=Callable[..., Any])


def compiled(loop: Loop) -> Loop:
    """The loop as machine code, in the order of operations that is written: the same input gives the same bytes."""
    return cast(Loop, numba.njit(cache=True)(loop))
