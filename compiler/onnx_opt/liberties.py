"""Liberties that rules may take with floating-point numbers where the user grants them (``--fast-math``).

Without one, every rewrite keeps NaN, infinities and the sign of zeros, and rounds as the original does or more exactly.
"""

from __future__ import annotations

from collections.abc import Iterable

from onnx_opt.errors import UsageError
from onnx_opt.passes import nearest

NO_NANS, NO_INFS, NO_SIGNED_ZEROS, REASSOCIATE = "no-nans", "no-infs", "no-signed-zeros", "reassociate"

LIBERTIES: dict[str, str] = {
    NO_NANS: "no operand and no result is NaN",
    NO_INFS: "no operand and no result is infinite",
    NO_SIGNED_ZEROS: "the sign of a zero does not matter",
    REASSOCIATE: "sums and products may be rounded in another order",
}
"""Each liberty and what may be assumed."""
ALL = frozenset(LIBERTIES)


def read_liberties(given: bool | str | Iterable[str]) -> frozenset[str]:
    """What was granted: True or 'all' for everything, False for nothing, else names, with commas between in one text.

    Raises `UsageError` for a name that is none.
    """
    if isinstance(given, bool):
        return ALL if given else frozenset()
    names = given.split(",") if isinstance(given, str) else given
    found = {name.strip() for name in names} - {""}
    for name in sorted(found - ALL - {"all"}):
        remedy = nearest(name, LIBERTIES, f"all, or some of {','.join(LIBERTIES)}, as in --fast-math=no-nans,no-infs")
        raise UsageError(f"--fast-math: there is no liberty '{name}'", remedy=remedy)
    return ALL if "all" in found else frozenset(found)
