"""What is kept between script runs, and how much of it."""

from __future__ import annotations

import threading

from explorer.app.metrics_memo import Memo


def test_a_result_is_made_once_for_its_key() -> None:
    memo: Memo[str] = Memo(100, len)
    made: list[str] = []

    def make() -> str:
        made.append("x")
        return "result"

    assert memo.get("a", make) == memo.get("a", make) == "result"
    assert made == ["x"]


def test_results_beyond_the_number_of_bytes_are_let_go_and_the_least_used_go_first() -> None:
    memo: Memo[str] = Memo(10, len)
    memo.get("a", lambda: "aaaa")
    memo.get("b", lambda: "bbbb")
    memo.get("a", lambda: "not made again")
    memo.get("c", lambda: "cccc")
    assert len(memo) == 2
    assert memo.get("a", lambda: "new") == "aaaa"
    assert memo.get("b", lambda: "new") == "new"


def test_a_result_larger_than_all_is_kept_until_the_next_one() -> None:
    memo: Memo[str] = Memo(10, len)
    assert memo.get("a", lambda: "a" * 50) == "a" * 50
    assert memo.get("a", lambda: "new") == "a" * 50
    memo.get("b", lambda: "b")
    assert memo.get("a", lambda: "new") == "new"


def test_threads_get_their_results_and_the_sizes_stay_right() -> None:
    memo: Memo[str] = Memo(1_000, len)

    def work() -> None:
        for k in range(300):
            assert memo.get(k % 40, lambda k=k: str(k % 40) * 20) == str(k % 40) * 20

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memo) <= 40
    for k in range(100, 200):
        memo.get(k, lambda: "x" * 100)
    assert len(memo) == 10
