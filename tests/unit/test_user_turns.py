"""Turns of users in matching later: by the time that their JSONPaths have taken."""

from pacifica.notifications.stages.deferred import UserTurns


def test_turn_is_the_users_who_has_taken_least() -> None:
    turns = UserTurns()
    order = []
    for _ in range(10):
        user = turns.next(["greedy", "modest"])
        order.append(user)
        turns.took(user, 0.9 if user == "greedy" else 0.1)
    assert order.count("modest") == 9


def test_who_comes_anew_does_not_catch_up_with_those_who_were_there() -> None:
    turns = UserTurns()
    for _ in range(3):
        turns.took(turns.next(["old"]), 1.0)
    order = []
    for _ in range(4):
        order.append(turns.next(["old", "new"]))
        turns.took(order[-1], 1.0)
    assert order == ["new", "old", "new", "old"]
