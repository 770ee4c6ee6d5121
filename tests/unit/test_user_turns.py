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
    # Who comes late has the next turn, and not all turns until it has caught up.
    assert turns.next(["greedy", "modest", "late"]) in ("modest", "late")
    turns.took("late", 5.0)
    assert turns.next(["greedy", "modest", "late"]) == "modest"
