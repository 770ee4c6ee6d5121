"""Which users Policy does not know, and how often it is asked about one."""

from collections.abc import Mapping

import pytest

from pacifica.notifications.stages import knownusers
from pacifica.notifications.stages.knownusers import KnownUsers
from pacifica.notifications.transport import Request, Response, SendFailure

URL = "http://policy.invalid"
DOWN = SendFailure("no connection", 0.1)
Result = Response | SendFailure


def answer(status: int, body: bytes = b"[]") -> Response:
    return Response(status, body, truncated=False, retry_after=None, seconds=0.1)


class Policy:
    """What Policy answers to its search, and to the exact question; and what it was asked."""

    def __init__(self, search: Result, exact: Result = DOWN) -> None:
        self.search = search
        self.exact = exact
        self.asked: list[str] = []
        self.now = 1000.0
        self.users = KnownUsers(URL, self._results, lambda: self.now)

    def _results(self, requests: Mapping[str, Request]) -> dict[str, Result]:
        self.asked += [f"{each.method} {user}" for user, each in requests.items()]
        return {
            user: self.search if each.method == "GET" else self.exact
            for user, each in requests.items()
        }


@pytest.mark.parametrize(
    ("search", "exact", "asked", "is_unknown"),
    [
        (answer(404), DOWN, ["GET dml"], True),
        (answer(200), answer(200), ["GET dml", "POST dml"], True),
        (answer(200), answer(200, b'[{"_id": 10}]'), ["GET dml", "POST dml"], False),
        (answer(200), answer(500), ["GET dml", "POST dml"], False),
        (answer(200), DOWN, ["GET dml", "POST dml"], False),
        (answer(500), DOWN, ["GET dml"], False),
        (DOWN, DOWN, ["GET dml"], False),
    ],
    ids=["nobody", "others alone", "known", "error", "away", "search fails", "policy away"],
)
def test_user_is_unknown_when_nobody_has_exactly_that_name(
    search: Result, exact: Result, asked: list[str], is_unknown: bool
) -> None:
    policy = Policy(search, exact)
    assert policy.users.unknown(["dml"]) == ({"dml"} if is_unknown else set())
    assert policy.asked == asked


@pytest.mark.parametrize("search", [answer(200), answer(503)], ids=["known", "undecided"])
def test_user_is_asked_about_ever_more_rarely_up_to_a_bound(search: Response) -> None:
    policy = Policy(search)
    times = []
    for second in range(4000):
        policy.now = 1000.0 + second
        before = len(policy.asked)
        assert policy.users.unknown(["dml"]) == set()
        if len(policy.asked) > before:
            times.append(second)
    assert times == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1623, 2223, 2823, 3423]


def test_each_user_is_asked_about_at_times_of_their_own() -> None:
    policy = Policy(answer(503))
    policy.users.unknown(["a"])
    policy.users.unknown(["a", "b"])
    assert policy.asked == ["GET a", "GET b"]


def test_user_is_asked_about_at_once_when_it_is_urgent() -> None:
    policy = Policy(answer(503))
    policy.users.unknown(["a", "b"])
    policy.asked.clear()
    policy.search = answer(404)
    assert policy.users.unknown(["a", "b"], urgent={"b"}) == {"b"}
    assert policy.asked == ["GET b"]


@pytest.mark.parametrize("status", [404, 503])
def test_user_is_asked_about_at_once_when_policy_gave_a_verdict_meanwhile(status: int) -> None:
    policy = Policy(answer(status))
    for _ in range(2):
        policy.users.unknown(["a"])
        policy.users.forget(["a"])
    assert policy.asked == ["GET a"] * 2


def test_user_who_was_unknown_is_asked_about_at_once_again() -> None:
    policy = Policy(answer(404))
    assert [policy.users.unknown(["a"]) for _ in range(2)] == [{"a"}] * 2


def test_no_more_than_a_bounded_number_of_users_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knownusers, "_MAX_USERS", 2)
    policy = Policy(answer(503))
    for user in "abc":
        policy.users.unknown([user])
    policy.asked.clear()
    policy.users.unknown(["a", "b", "c"])
    assert policy.asked == ["GET a"]
