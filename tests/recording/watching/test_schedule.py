from itertools import pairwise

import pytest

from explorer import EarlyThenEvery, Every, LogSpaced, UsageError
from explorer.recording.watching.rounds import Rounds
from explorer.recording.watching.schedule import parse_schedule


def steps_of(schedule, end, start=-1):
    steps, step = [], start
    while (step := schedule.next_after(step)) < end:
        steps.append(step)
    return steps


def test_the_default_is_dense_early_and_then_every_fifty():
    assert steps_of(parse_schedule(None), 200) == [*range(20), 50, 100, 150]


def test_every_n_is_its_multiples():
    assert steps_of(Every(7), 30) == [0, 7, 14, 21, 28]
    assert parse_schedule(7) == Every(7)


@pytest.mark.parametrize("per_decade", [1, 5, 20, 100])
def test_log_spaced_steps_grow_by_equal_ratios_and_never_repeat(per_decade):
    steps = steps_of(LogSpaced(per_decade), 1_000_000)
    assert steps == sorted(set(steps))
    late = [b / a for a, b in pairwise(steps) if a > 50_000]
    assert late == pytest.approx([10 ** (1 / per_decade)] * len(late), rel=1e-3)


def test_a_late_start_goes_on_in_the_same_places():
    assert steps_of(LogSpaced(4), 2000, start=100) == [s for s in steps_of(LogSpaced(4), 2000) if s > 100]


@pytest.mark.parametrize(
    "make", [lambda: Every(0), lambda: Every(True), lambda: EarlyThenEvery(-1), lambda: LogSpaced(0)]
)
def test_numbers_that_make_no_schedule_are_refused(make):
    with pytest.raises(UsageError, match="should be an integer of at least"):
        make()


def test_other_things_are_no_schedule():
    with pytest.raises(UsageError, match="schedule should be"):
        parse_schedule("often")


def rounds(num=1, schedule=None, first=0, given=None, last=None):
    return Rounds(num, schedule or Every(3), first, given, last or (lambda: None))


def looked_at(rounds, order):
    found = []
    for index in order:
        if not rounds.passes() and not rounds.rests() and rounds.begin(index):
            found.append((rounds.step, index))
    return found


def test_one_optimizer_is_looked_at_at_the_steps_of_the_schedule():
    assert looked_at(rounds(), [0] * 10) == [(0, 0), (3, 0), (6, 0), (9, 0)]


def test_a_round_ends_when_an_optimizer_steps_again():
    assert looked_at(rounds(2), [0, 1] * 5) == [(0, 0), (0, 1), (3, 0), (3, 1)]


def test_an_optimizer_that_misses_its_round_is_looked_at_when_it_steps_next():
    found = looked_at(rounds(2), [0, 0, 0, 0, 0, 1])
    assert found == [(0, 0), (3, 0), (4, 1)]


def test_the_first_step_is_looked_at_wherever_it_begins():
    assert looked_at(rounds(first=7), [0] * 4) == [(7, 0), (9, 0)]


def test_a_count_that_is_behind_the_log_is_raised_to_it():
    logged = iter([None, 5, 5, 5, 8])
    found = rounds(schedule=Every(1), last=lambda: next(logged))
    assert looked_at(found, [0] * 5) == [(0, 0), (5, 0), (6, 0), (7, 0), (8, 0)]


def test_the_trainings_own_number_wins_and_may_go_back():
    given = iter([10, 20, 30, 4, 5, 6])
    found = rounds(schedule=Every(10), given=lambda: next(given))
    assert looked_at(found, [0] * 6) == [(10, 0), (20, 0), (30, 0), (4, 0)]


@pytest.mark.parametrize("given", [False, True], ids=["counted", "numbered by the training"])
def test_steps_that_pass_are_counted_like_those_that_do_not(given):
    numbers = iter(range(100))
    found = rounds(schedule=Every(7), given=(lambda: next(numbers)) if given else None)
    ways, counts = [], []
    for _ in range(15):
        if found.passes():
            ways.append("passes")
        elif found.rests():
            ways.append("rests")
        else:
            ways.append("looked at" if found.begin() else "begins")
            counts.append((found.step, found.counts[0]))
    passes = "rests" if given else "passes"
    assert ways == (["looked at", "rests", *[passes] * 4, "begins"] * 3)[:15]
    assert counts == [(0, 1), (6, 7), (7, 8), (13, 14), (14, 15)]


def test_several_optimizers_never_pass():
    found = rounds(2, Every(100))
    for step in range(20):
        assert not found.passes()
        assert not found.rests()
        assert found.begin(step % 2) == (step < 2)


def test_validations_are_watched_for_early_and_then_in_a_tenth_of_all_steps():
    found, seen, wakes = rounds(schedule=Every(10**6), first=5), [], []
    for step in range(5, 4_005):
        seen.append(found.sees_validations)
        if not found.passes() and not found.rests():
            found.begin()
            wakes.append(step)
    assert [sum(seen[start : start + 1_000]) for start in (0, 1_000, 2_000, 3_000)] == [1_000, 100, 100, 100]
    assert wakes == [5, 1_004, 1_104, 2_004, 2_104, 3_004, 3_104, 4_004]
    assert found.counts == [4_000]
