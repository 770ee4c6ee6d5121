"""How many deliveries, of how many bytes, may be under way at once."""

from pacifica.notifications.stages.inflight import InFlightLimit, UnderWay


def acquired(limit: InFlightLimit, user: str, size: int, host: str = "h") -> list[UnderWay]:
    """Have as many of a user's deliveries under way as may be."""
    under_way = []
    while (each := limit.acquire(user, host, size)) is not None:
        under_way.append(each)
    return under_way


def test_delivery_is_refused_when_as_many_are_under_way_as_may_be() -> None:
    limit = InFlightLimit(2, 1000)
    first = limit.acquire("a", "h", 1)
    assert first is not None
    assert limit.acquire("b", "h", 1)
    assert not limit.acquire("c", "h", 1)
    limit.release(first)
    assert limit.acquire("c", "h", 1)


def test_delivery_that_is_alone_may_be_larger_than_the_limit() -> None:
    limit = InFlightLimit(2, 1000)
    alone = limit.acquire("a", "h", 5000)
    assert alone is not None
    assert not limit.acquire("b", "h", 1)
    limit.release(alone)
    assert limit.acquire("b", "h", 1)


def test_user_leaves_a_fifth_of_the_bytes_to_others() -> None:
    limit = InFlightLimit(10_000, 1000)
    assert sum(each.size for each in acquired(limit, "hog", 10)) == 800
    assert limit.acquire("other", "h", 150)
    assert not limit.acquire("hog", "elsewhere", 10)


def test_users_of_one_host_leave_a_fifth_of_the_bytes_to_other_hosts() -> None:
    limit = InFlightLimit(10_000, 1000)
    taken = sum(each.size for user in ("one", "two", "three") for each in acquired(limit, user, 10))
    assert taken == 820  # each has its first one
    assert limit.acquire("other", "elsewhere", 100)
    assert limit.acquire("other", "elsewhere", 50)


def test_user_has_its_share_again_when_its_deliveries_have_ended() -> None:
    limit = InFlightLimit(10_000, 1000)
    for each in acquired(limit, "hog", 100):
        limit.release(each)
    assert limit.wait_free(0) == 10_000
    assert limit.acquire("hog", "h", 600)
    assert limit.seconds("hog") < 1


def test_wait_free_returns_how_many_more_may_be_under_way_or_0() -> None:
    limit = InFlightLimit(2, 1000)
    assert limit.acquire("a", "h", 1)
    assert limit.wait_free(0) == 1
    assert limit.acquire("a", "h", 1)
    assert limit.wait_free(0) == 0
