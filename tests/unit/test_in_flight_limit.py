"""How many deliveries, of how many bytes, may be under way at once."""

from pacifica.notifications.stages.deliver import InFlightLimit


def test_delivery_is_refused_when_as_many_are_under_way_as_may_be() -> None:
    limit = InFlightLimit(2, 1000)
    assert limit.acquire("a", 1)
    assert limit.acquire("b", 1)
    assert not limit.acquire("c", 1)
    limit.release("a", 1)
    assert limit.acquire("c", 1)


def test_delivery_that_is_alone_may_be_larger_than_the_limit() -> None:
    limit = InFlightLimit(2, 1000)
    assert limit.acquire("a", 5000)
    assert not limit.acquire("b", 1)
    limit.release("a", 5000)
    assert limit.acquire("b", 1)


def test_user_leaves_a_fifth_of_the_bytes_to_others() -> None:
    limit = InFlightLimit(10_000, 1000)
    taken = 0
    while limit.acquire("hog", 10):
        taken += 10
    assert taken == 800
    assert limit.acquire("other", 150)
    assert not limit.acquire("hog", 10)


def test_user_has_its_share_again_when_its_deliveries_have_ended() -> None:
    limit = InFlightLimit(10_000, 1000)
    while limit.acquire("hog", 100):
        pass
    for _ in range(8):
        limit.release("hog", 100)
    assert limit.wait_empty(0)
    assert limit.acquire("hog", 600)


def test_wait_free_returns_how_many_more_may_be_under_way_or_0() -> None:
    limit = InFlightLimit(2, 1000)
    assert limit.acquire("a", 1)
    assert limit.wait_free(0) == 1
    assert limit.acquire("a", 1)
    assert limit.wait_free(0) == 0
