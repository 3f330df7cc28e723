"""Tables of people's answers: read, checked and joined."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid.errors import DataError, UsageError
from astrid.survey.class_labels import Opinion, joined, read_labels, write_labels

HEADER = "id,class,value,who,when\n"


def opinion(value: float, who: str = "ada", when: str = "2026-01-01T00:00:00", code: str = "rrab") -> Opinion:
    return Opinion("star", code, value, who, when)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_is_read_as_it_was_written(tmp_path: Path, suffix: str) -> None:
    given = [opinion(0.25), Opinion("other, star", "ea", 1.0, "Bo", "2026-02-03T04:05:06")]
    path = tmp_path / f"labels{suffix}"
    write_labels(path, given)
    assert read_labels([path]) == given


def test_questions_without_an_answer_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}a,rrab,,,\na,rrc,0.5,ada,2026-01-01\n")
    assert [one.code for one in read_labels([path])] == ["rrc"]


def test_the_last_answer_of_a_person_counts() -> None:
    assert joined([opinion(0.0), opinion(1.0, when="2026-01-02")]) == {"star": {"rrab": 1.0}}
    assert joined([opinion(1.0, when="2026-01-02"), opinion(0.0)]) == {"star": {"rrab": 1.0}}


def test_times_of_several_zones_are_compared_as_moments() -> None:
    late = opinion(1.0, when="2026-01-01T12:00:00+00:00")
    early = opinion(0.0, when="2026-01-01T13:00:00+05:00")
    assert joined([late, early]) == {"star": {"rrab": 1.0}}


@pytest.mark.parametrize(
    ("values", "expected"), [((0, 1), 0.5), ((0.75, 1), 0.75), ((0, 0.25), 0.25), ((1, 1, 0), 0.75)]
)
def test_several_people_are_averaged_to_a_level(values: tuple[float, ...], expected: float) -> None:
    said = joined([opinion(value, who=str(k)) for k, value in enumerate(values)])
    assert said == {"star": {"rrab": expected}}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,rrx,1,ada,2026-01-01", "row 1 names the class 'rrx'"),
        ("a,rrab,0.3,ada,2026-01-01", "row 1 has the value '0.3'"),
        ("a,rrab,yes,ada,2026-01-01", "row 1 has the value 'yes'"),
        ("a,rrab,1,,2026-01-01", "does not say who"),
        ("a,rrab,1,ada,yesterday", "ISO 8601"),
    ],
)
def test_a_row_that_cannot_be_is_named(tmp_path: Path, row: str, says: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}{row}\n")
    with pytest.raises(DataError, match=says):
        read_labels([path])


def test_a_table_without_a_column_or_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("id,class,value\na,rrab,1\n")
    with pytest.raises(DataError, match="no column 'who'"):
        read_labels([path])
    with pytest.raises(DataError, match="cannot be read as a table of labels"):
        read_labels([tmp_path / "absent.parquet"])
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        write_labels(tmp_path / "labels.txt", [])
