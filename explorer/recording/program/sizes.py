"""Which sizes of the inputs may vary: tried out, one size after the other, against the model itself.

Export says which sizes it left open, but is too strict for some models (an LSTM's number of steps), gives sizes that
must be the same different names (tokens and their mask), and could be too generous for others. So each size is changed,
smaller and larger, together with the sizes it goes with, and program and model must agree. Most models take any sizes,
but perhaps for one, such as the channels of an image: all are changed at once first, then all but one, and only if that
does not work, one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import torch
from torch import Tensor

from explorer.errors import ProgramError

Run = Callable[[Sequence[Any]], Mapping[str, Any]]
Range = list[int | None]
Place = tuple[int, int]
"""(input, dimension)."""
LONG_RUN_S: Final = 0.1
PICTURE_RANK: Final = 4
"""What takes small pictures, and such of one pixel, takes larger ones: it looks nothing up by place."""
_Outcome = Literal["agree", "differ", "refused"]


@dataclass(frozen=True)
class Trials:
    """How a size is tried out.

    Attributes:
        run_model, run_program: outputs by path for inputs like the example's; both may raise.
        agree: whether two outputs are the same.
        budget_s: CPU seconds of this thread; sizes for which no time is left stay as export has them.
        run_s: what one run of the example takes; where that is long, larger sizes are not tried without need.
        vary: another value for an input of the same kind and size.
        is_brief: do not try one size after the other, which runs the model on inputs as large as the example.
    """

    run_model: Run
    run_program: Run
    agree: Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
    budget_s: float
    run_s: float
    vary: Callable[[Any], Any]
    is_brief: bool = False

    def outcome(self, changed: Sequence[Any]) -> _Outcome:
        """What program and model make of other inputs; "refused" when the model itself does not take them."""
        try:
            wanted = self.run_model(changed)
        except Exception:  # the model's own errors, of any kind
            return "refused"
        try:
            return "agree" if self.agree(self.run_program(changed), wanted) else "differ"
        except ProgramError:
            return "differ"


@dataclass
class Settled:
    """What was found out about the sizes of an example.

    Attributes:
        symbols: the range of each size that may vary.
        names: for names that are none any more what stands for them: another name where two must be the same, or the
            size itself where it is fixed.
        small: the inputs with sizes as small as they may be.
        varied: whether the program was also seen to agree for other values of the inputs.
    """

    symbols: dict[str, Range]
    names: dict[str, int | str]
    small: list[Any]
    varied: bool


@dataclass
class _Tried:
    """Outcomes for a group of sizes: of smaller ones, and of a larger one, None where none was tried."""

    smaller: list[tuple[int, _Outcome]] = field(default_factory=list)
    larger: _Outcome | None = None


def settle_sizes(
    symbols: Mapping[str, Range], inputs: Sequence[Mapping[str, Any]], example: Sequence[Any], trials: Trials
) -> Settled:
    """Find out about the sizes of the example.

    Args:
        symbols: name of a size to (lowest, highest or None), as export has it.
        inputs: entries of the document, with `shape`.
        example: the inputs' values, in the same order.
        trials: how to try.
    """
    until_s = time.thread_time() + trials.budget_s
    groups = _groups(symbols, inputs, example)
    together = _try_together(groups, [], example, trials, until_s)
    for group in groups if together is None and len(groups) > 1 else ():
        others = [other for other in groups if other is not group]
        together = _try_together(others, [group], example, trials, until_s)
        if together is not None:
            break
    if together is not None:
        found, base, thin = together
    elif trials.is_brief:
        found, base = [], list(example)
        thin = base
    else:
        found, base = _try_apart(list(groups), list(example), trials, until_s)
        thin = base
    settled = {symbol: list(ends) for symbol, ends in symbols.items()}
    names: dict[str, int | str] = {}
    for group, tried in found:
        known = settled[group.symbols[0]]
        is_open = known[1] is None or known[1] > group.size
        agreed = any(outcome == "agree" for _, outcome in tried.smaller)
        costly = trials.run_s > LONG_RUN_S or group.rank(example) >= PICTURE_RANK
        if tried.larger is None and not (costly and is_open and agreed) and not trials.is_brief:
            tried.larger = _try_larger(group, thin, trials, until_s)
        ends = _range(known, group.size, tried.smaller, tried.larger)
        settled |= dict.fromkeys(group.symbols, ends)
        if len(group.symbols) > 1 and ends[0] != ends[1] and time.thread_time() < until_s:
            names |= _same(group, base, trials)
    names |= {symbol: ends[0] for symbol, ends in settled.items() if ends[0] is not None and ends[0] == ends[1]}
    open_sizes = {symbol: ends for symbol, ends in settled.items() if symbol not in names}
    return Settled(open_sizes, names, base, together is not None)


@dataclass(frozen=True)
class _Group:
    """Sizes that are the same in the example, in the same dimension of different inputs."""

    size: int
    places: Mapping[str, Sequence[Place]]

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self.places)

    def rank(self, example: Sequence[Any]) -> int:
        """The least number of dimensions of the inputs that have it."""
        ranks: list[int] = [example[index].dim() for places in self.places.values() for index, _ in places]
        return min(ranks)

    def split(self) -> list[_Group]:
        """Each size alone."""
        return [_Group(self.size, {symbol: places}) for symbol, places in self.places.items()]

    def resized(self, base: Sequence[Any], size: int, symbols: Sequence[str] = ()) -> list[Any]:
        """The inputs with another size, in all or some of the places: cut, or begun again from the start."""
        changed = list(base)
        for symbol in symbols or self.symbols:
            for index, dim in self.places[symbol]:
                leaf = changed[index]
                order = torch.arange(size, device=leaf.device) % leaf.shape[dim]
                changed[index] = leaf.index_select(dim, order)
        return changed


def _groups(symbols: Mapping[str, Range], inputs: Sequence[Mapping[str, Any]], example: Sequence[Any]) -> list[_Group]:
    found: dict[tuple[int, int], dict[str, list[Place]]] = {}
    for symbol in symbols:
        places = list(_places(symbol, inputs, example))
        if places:
            index, dim = places[0]
            found.setdefault((example[index].shape[dim], dim), {})[symbol] = places
    return [_Group(size, members) for (size, _), members in found.items() if size > 0]


def _places(symbol: str, inputs: Sequence[Mapping[str, Any]], example: Sequence[Any]) -> Iterator[Place]:
    for index, entry in enumerate(inputs):
        for dim, name in enumerate(entry.get("shape", ())):
            if name == symbol and isinstance(example[index], Tensor):
                yield index, dim


def _try_together(
    groups: Sequence[_Group], others: list[_Group], example: Sequence[Any], trials: Trials, until_s: float
) -> tuple[list[tuple[_Group, _Tried]], list[Any], list[Any]] | None:
    """What came of changing all sizes but those of `others`, and all values, at once, and then those of the others.

    No two sizes are the same, so that a program which needs that is found out.

    Returns:
        What came of it, the inputs, small, and the inputs with sizes of one where they may be; None where it did not
        work.
    """
    if not groups or time.thread_time() > until_s:
        return None
    base, taken = [trials.vary(leaf) for leaf in example], {group.size for group in (*groups, *others)}
    found: list[tuple[_Group, _Tried]] = []
    for group in groups:
        size = next(size for size in range(2, 2 + len(taken) + len(groups)) if size not in taken)
        taken.add(size)
        base = group.resized(base, size)
        found.append((group, _Tried([(size, "agree")]) if size < group.size else _Tried(larger="agree")))
    if trials.outcome(base) != "agree":
        return None
    shrunk = [(group, tried) for group, tried in found if group.size > 1]
    ones = base
    for group, _ in found:
        ones = group.resized(ones, 1)
    alike = bool(shrunk) and trials.outcome(ones) == "agree"
    for group, tried in shrunk:
        if alike or tried.smaller:
            tried.smaller.append((1, "agree" if alike else trials.outcome(group.resized(base, 1))))
        else:
            tried.smaller, _ = _try_smaller(group, base, trials, until_s)
    thin = ones if alike else base
    if others:
        apart, thin = _try_apart(list(others), thin, trials, until_s)
        found += apart
    return found, base, thin


def _try_apart(
    waiting: list[_Group], base: list[Any], trials: Trials, until_s: float
) -> tuple[list[tuple[_Group, _Tried]], list[Any]]:
    """What came of changing one size after the other; and the inputs, small."""
    found: list[tuple[_Group, _Tried]] = []
    while waiting:
        group = waiting.pop(0)
        tried, base = _try_smaller(group, base, trials, until_s)
        if len(group.symbols) > 1 and all(outcome != "agree" for _, outcome in tried):
            waiting[:0] = group.split()  # sizes that are the same by chance
        else:
            found.append((group, _Tried(tried)))
    return found, base


def _try_smaller(
    group: _Group, base: list[Any], trials: Trials, until_s: float
) -> tuple[list[tuple[int, _Outcome]], list[Any]]:
    """What came of smaller sizes; and the inputs, small where they may be: further trials then cost little."""
    tried: list[tuple[int, _Outcome]] = []
    for size in dict.fromkeys((1, 2, group.size - 1, group.size // 2)):
        if not 0 < size < group.size or time.thread_time() > until_s:
            continue
        changed = group.resized(base, size)
        tried.append((size, trials.outcome(changed)))
        if tried[-1][1] == "agree" and size > 1:
            return tried, changed
    return tried, base


def _try_larger(group: _Group, base: list[Any], trials: Trials, until_s: float) -> _Outcome | None:
    outcome: _Outcome | None = None
    for size in (group.size + 1, 2 * group.size):
        if time.thread_time() > until_s:
            break
        outcome = trials.outcome(group.resized(base, size))
        if outcome != "refused":
            break
    return outcome


def _range(known: Range, size: int, smaller: Sequence[tuple[int, _Outcome]], larger: _Outcome | None) -> Range:
    """The range of a size of the example.

    Where the model itself refuses some, a program that is open does no harm; where it refuses all, no other size is of
    use; where it gives something and the program does not, or something else, the size is closed in that direction.
    """
    outcomes = [outcome for _, outcome in smaller] + [larger]
    if not any(outcome in ("agree", "differ") for outcome in outcomes):
        return [size, size] if larger == "refused" else known
    agreeing = [found for found, outcome in smaller if outcome == "agree"]
    differing = [found for found, outcome in smaller if outcome == "differ"]
    low = known[0] if known[0] is not None and known[0] < size else 1
    if agreeing and differing:
        low = max(differing) + 1
    elif differing:
        low = size
    elif agreeing:
        low = min(low, *agreeing)
    elif larger == "differ":
        low = size
    if larger == "agree":
        high = known[1] if known[1] is None or known[1] > size else None
    elif larger == "refused":
        high = known[1] if known[1] is not None and known[1] > size else size
    else:
        high = known[1] if larger is None else size
    return [low, high]


def _same(group: _Group, base: Sequence[Any], trials: Trials) -> dict[str, int | str]:
    """One name for the sizes of a group of which none can be changed alone."""
    index, dim = group.places[group.symbols[0]][0]
    size = base[index].shape[dim] + 1
    bound = [symbol for symbol in group.symbols if trials.outcome(group.resized(base, size, [symbol])) != "agree"]
    return dict.fromkeys(bound[1:], bound[0]) if bound else {}
