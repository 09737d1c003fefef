"""A spread: what is reported of a figure that was measured several times."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class Spread(BaseModel):
    """`p90`: 90 of 100 values are at most this, by linear interpolation between neighbours."""

    model_config = ConfigDict(frozen=True)

    count: int
    median: float
    p90: float
    min: float
    max: float


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value. `spread([1, 2, 3, 4, 5])` has median 3 and p90 4.6."""
    import numpy as np

    median, p90 = (float(value) for value in np.percentile(values, [50, 90]))
    return Spread(count=len(values), median=median, p90=p90, min=min(values), max=max(values))
