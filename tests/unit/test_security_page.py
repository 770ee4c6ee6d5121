"""The page about security names tests that are there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.rst").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"``([a-z0-9_/]+\.py)::([a-z0-9_]+)``", PAGE)))


def rows() -> Iterator[str]:
    """Give each threat of the table, with all its columns."""
    table = PAGE.partition(":header-rows:")[2].partition("\nWhat is left to operators")[0]
    yield from table.split("\n   * - ")[2:]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_test_that_is_named_exists(file: str, name: str) -> None:
    text = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(", text, re.MULTILINE)


def test_each_threat_names_a_test() -> None:
    threats = list(rows())
    assert len(threats) > 20
    assert [threat for threat in threats if ".py::test_" not in threat] == []
