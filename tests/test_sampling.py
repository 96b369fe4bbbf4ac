"""The sample of a suite: every case on some system, and on each system with some number."""

from __future__ import annotations

from collections import Counter

import pytest

from tests import sampling


class Suite:
    """Ten cases."""

    def test_a(self) -> None: ...

    @pytest.mark.parametrize("n", range(3))
    @pytest.mark.parametrize("letter", ["x", "y"])
    def test_b(self, n: int, letter: str) -> None: ...

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_c(self, n: int) -> None: ...

    def help(self) -> None: ...


def run(share: int, number: int) -> list[tuple[str, int]]:
    chosen = sampling.Chosen(Suite, share, number)
    return [(name, case) for name, (_, cases) in chosen.cases.items() for case in cases]


@pytest.mark.parametrize("share", [2, 3, 7, 15])
def test_as_many_classes_as_the_share_run_every_case_once(share: int) -> None:
    counts = Counter(case for number in range(share) for case in run(share, number))
    assert sorted(counts) == [
        ("test_a", 0), *(("test_b", n) for n in range(6)), *(("test_c", n) for n in range(3))
    ]  # fmt: skip
    assert set(counts.values()) == {1}


def test_another_number_takes_other_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counter[tuple[str, int]]()
    for number in range(4):
        monkeypatch.setattr(sampling, "SAMPLE", number)
        counts.update(run(4, 0))
    assert len(counts) == 10
    assert set(counts.values()) == {1}


def test_what_marks_do_not_tell_stays_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fixture with two values makes six cases of the three of `test_c`."""
    monkeypatch.setattr(sampling, "SAMPLE", 0)

    class Case:
        def __init__(self, nodeid: str) -> None:
            self.nodeid, self.originalname = nodeid, "test_c"

    chosen = sampling.Chosen(Suite, 3, 1)  # the second case of `test_c`
    cases = [Case(f"test_c[{n}-{value}]") for n in (1, 2, 3) for value in ("one", "two")]
    left = list(chosen.left(cases))  # type: ignore[arg-type]
    assert left == ["test_c[1-one]", "test_c[1-two]", "test_c[3-one]", "test_c[3-two]"]
