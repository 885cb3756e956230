"""The smallest number of rectangles whose union is a set of pixels.

All rectangles that cannot grow (the maximal ones) are listed; some of them are chosen so that
every pixel lies in one. That is set covering: what one rectangle alone can cover decides most
of it (Quine and McCluskey's essential terms and dominance), integer programming the rest.
Rows of pixels, and sets of pixels, are the bits of Python integers here: for pieces of some
hundred pixels this is several times as fast as arrays are.
"""

import time

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.int64]

#: More maximal rectangles, or bits of their pixels, than these are not tried to be covered by.
_MOST, _MOST_BITS = 5_000, 1 << 28
#: Trials of branching before integer programming is asked: they cost as much as asking it.
_NODES = 60
_NONE: Boxes = np.empty((0, 4), np.int64)


class _GaveUp(Exception):
    """Time is up, or there is too much to try."""


def _go_on(until: float) -> None:
    if time.monotonic() > until:
        raise _GaveUp


def cover(mask: npt.NDArray[np.bool_], until: float) -> tuple[Boxes, bool]:
    """Cover pixels exactly by as few rectangles as possible; they may overlap.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
    until : float
        Time of `time.monotonic` at which to stop.

    Returns
    -------
    boxes : ndarray of int64, shape (n, 4)
        Column, row, columns, rows. Empty if none was found in time.
    proven : bool
        Whether there is no smaller number.
    """
    try:
        rectangles = maximal_rectangles(mask, until)
        if len(rectangles) * mask.size > _MOST_BITS:
            return _NONE, False
        chosen, rest = _reduce(
            dict(enumerate(_pixels(r, mask.shape[1]) for r in rectangles)), until
        )
        proven = True
        if rest:
            more = _branch(rest, len(rest), [_NODES], until)
            if more is None:
                more, proven = _program(rest, until)
            chosen += more
    except _GaveUp:
        return _NONE, False
    return np.array([rectangles[i] for i in sorted(chosen)], np.int64).reshape(-1, 4), proven


def maximal_rectangles(
    mask: npt.NDArray[np.bool_], until: float
) -> list[tuple[int, int, int, int]]:
    """List the rectangles of pixels that can grow to no side.

    Parameters
    ----------
    mask : ndarray of bool, shape (rows, columns)
    until : float
        Time of `time.monotonic` at which to stop.

    Returns
    -------
    list of (column, row, columns, rows)
    """
    lines = [int.from_bytes(np.packbits(r, bitorder="little").tobytes(), "little") for r in mask]
    found: list[tuple[int, int, int, int]] = []
    for top in range(len(lines)):
        _go_on(until)
        if len(found) > _MOST:
            raise _GaveUp
        above = lines[top - 1] if top else 0
        common = lines[top]
        for bottom in range(top, len(lines)):
            common &= lines[bottom]
            # Runs that could grow upwards belong to an earlier top; with all of them go the rest.
            if not common & ~above:
                break
            below = lines[bottom + 1] if bottom + 1 < len(lines) else 0
            rest = common
            while rest:
                low = rest & -rest
                after = rest + low
                run = rest & ~after
                if run & ~above and run & ~below:
                    start = low.bit_length() - 1
                    found.append((start, top, run.bit_length() - start, bottom - top + 1))
                rest ^= run
    return found


def _pixels(rectangle: tuple[int, int, int, int], width: int) -> int:
    """Bits of the pixels of a rectangle, row by row."""
    column, row, columns, rows = rectangle
    line = ((1 << columns) - 1) << (row * width + column)
    # A line, then twice as many lines, and so on.
    bits, done = line, 1
    while done * 2 <= rows:
        bits |= bits << (done * width)
        done *= 2
    return bits | bits << ((rows - done) * width)


def _reduce(sets: dict[int, int], until: float) -> tuple[list[int], dict[int, int]]:
    """Choose what has to be chosen.

    Parameters
    ----------
    sets : dict of int to int
        Sets of bits, all of which are to be covered.

    Returns
    -------
    chosen : list of int
        Keys of sets that some smallest cover holds.
    rest : dict of int to int
        What the chosen ones leave of sets that matter still; empty if nothing is left.
    """
    chosen: list[int] = []
    while True:
        once = twice = 0
        for bits in sets.values():
            twice |= once & bits
            once |= bits
        alone = once & ~twice
        essential = [i for i, bits in sets.items() if bits & alone]
        for i in essential:
            once &= ~sets[i]
        if not once:
            return chosen + essential, {}
        kept = _undominated({i: b for i, bits in sets.items() if (b := bits & once)}, until)
        if not essential and len(kept) == len(sets):
            return chosen, sets
        chosen += essential
        sets = kept


def _branch(
    sets: dict[int, int], fewer_than: int, nodes: list[int], until: float
) -> list[int] | None:
    """Cover bits by the fewest sets, by trying: each set of the bit that lies in the fewest.

    Parameters
    ----------
    sets : dict of int to int
        Reduced: no bit lies in one set only, no set is part of another.
    fewer_than : int
        Covers of as many sets are of no use.
    nodes : list of int
        One number: trials that are left. None is the answer once it is below 0.

    Returns
    -------
    list of int or None
        Keys; None if there is none that small.
    """
    nodes[0] -= 1
    if nodes[0] < 0 or fewer_than <= 2:
        # Reduced sets take two at least.
        return None
    left = 0
    for bits in sets.values():
        left |= bits
    if -(-left.bit_count() // max(b.bit_count() for b in sets.values())) >= fewer_than:
        return None
    rarest = _rarest(sets, left)
    best = None
    for i in [i for i, bits in sets.items() if bits & rarest]:
        chosen, rest = _reduce({j: b for j, bits in sets.items() if (b := bits & ~sets[i])}, until)
        number = 1 + len(chosen)
        if rest:
            more = _branch(rest, fewer_than - number, nodes, until)
            if nodes[0] < 0:
                return None
            if more is None:
                continue
            chosen = chosen + more
            number += len(more)
        if number < fewer_than:
            best, fewer_than = [i, *chosen], number
    return best


def _rarest(sets: dict[int, int], left: int) -> int:
    """Bits that lie in the fewest sets."""
    at_least = [left]  # bits that lie in so many sets, so far
    for bits in sets.values():
        at_least.append(0)
        for n in range(len(at_least) - 1, 0, -1):
            at_least[n] |= at_least[n - 1] & bits
        if not at_least[-1]:
            at_least.pop()
    exactly = (a & ~b for a, b in zip(at_least, [*at_least[1:], 0], strict=True))
    return next(bits for bits in exactly if bits)


def _undominated(sets: dict[int, int], until: float) -> dict[int, int]:
    """Sets that no other one contains; of equal ones the first."""
    order = sorted(sets.items(), key=lambda item: -item[1].bit_count())
    kept: dict[int, int] = {}
    for i, bits in order:
        _go_on(until)
        if not any(bits & ~other == 0 for other in kept.values()):
            kept[i] = bits
    return kept


def _program(sets: dict[int, int], until: float) -> tuple[list[int], bool]:
    """Cover bits by integer programming: which sets, and whether they are proven fewest."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    seconds = until - time.monotonic()
    if seconds <= 0:
        raise _GaveUp
    size = (max(sets.values()).bit_length() + 7) // 8
    raw = b"".join(bits.to_bytes(size, "little") for bits in sets.values())
    table = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little").reshape(len(sets), -1)
    # Bits that lie in the same sets are one constraint.
    table = np.unique(table[:, table.any(axis=0)].T, axis=0)
    result = milp(
        np.ones(len(sets)),
        integrality=np.ones(len(sets)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(csr_array(table.astype(np.float64)), 1, np.inf),
        options={"time_limit": seconds},
    )
    if result.x is None:
        raise _GaveUp
    return [i for i, x in zip(sets, result.x, strict=True) if x > 0.5], result.status == 0
