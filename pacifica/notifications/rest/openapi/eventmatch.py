"""`/eventmatch` and what is below it: what is sent there, and all that may be answered."""

from typing import Any

from pacifica.notifications.rest.openapi import examples
from pacifica.notifications.rest.openapi.answers import (
    JSON,
    OF_A_BODY,
    OF_THE_SERVER,
    TOO_OFTEN,
    UNAVAILABLE,
    UNKNOWN_PATH,
    Answer,
    Answers,
    done,
    error,
    get_and_head,
    in_order,
)
from pacifica.notifications.rest.openapi.objects import reference
from pacifica.notifications.settings import Settings

Operation = dict[str, Any]

_UUID = {
    "name": "uuid",
    "in": "path",
    "required": True,
    "description": "The subscription's id; the hyphens may be left out.",
    "schema": {
        "type": "string",
        "pattern": "^[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{4}){3}-?[0-9A-Fa-f]{12}$",
    },
    "example": examples.UUID,
}
_FOLLOWING = (
    *("readSubscription", "changeSubscription", "deleteSubscription"),
    *("readDelivery", "changeDelivery"),
)
_NO_CALLER = error("There is no user header, and no default user.")
_NOT_THROUGH_PROXY = "The request did not come through the proxy."
_BAD_HEADER = "The user header cannot be used, or there are query parameters."
_NOT_YOURS = error(
    "The caller has no such subscription, whether it is unknown, deleted or somebody else's. "
    f"Or: {_NOT_THROUGH_PROXY}",
    example=examples.NOT_YOURS,
)
_OF_ALL = in_order(OF_THE_SERVER, TOO_OFTEN, UNAVAILABLE, {"401": _NO_CALLER})


def paths(settings: Settings, security: list[Any]) -> dict[str, Any]:
    """Return the paths of subscriptions; `security` is what they ask of a caller."""
    described: dict[str, dict[str, Any]] = {
        "/eventmatch": {
            **get_and_head(_list()),
            "post": _create(settings),
        },
        "/eventmatch/{uuid}": {
            **get_and_head(_of_one("readSubscription", "Read a subscription.", _whole())),
            "put": _change(
                "changeSubscription",
                "Change a subscription.",
                _body("SubscriptionChanges", examples.ENABLED),
                done("The subscription as it is now.", _whole()),
            ),
            "delete": _of_one("deleteSubscription", "Delete a subscription.", None),
        },
        "/eventmatch/{uuid}/delivery": {
            **get_and_head(
                _of_one("readDelivery", "Read in which form a subscription gets events.", _form())
            ),
            "put": _change(
                "changeDelivery",
                "Change in which form a subscription gets events.",
                _body("Delivery", examples.DELIVERY),
                done("The form as it is now.", _form()),
            ),
        },
    }
    for path, methods in described.items():
        for operation in methods.values():
            operation["security"] = security
            operation["tags"] = ["subscriptions"]
        if "{uuid}" in path:
            methods["parameters"] = [_UUID]
    return described


def _list() -> Operation:
    found = {"schema": {"type": "array", "items": reference("Subscription")}}
    return {
        "operationId": "listSubscriptions",
        "summary": "Read all subscriptions of the caller, oldest first.",
        "responses": in_order(
            _OF_ALL,
            {
                "200": done("The subscriptions.", found),
                "400": error(_BAD_HEADER),
                "403": error(_NOT_THROUGH_PROXY),
            },
        ),
    }


def _create(settings: Settings) -> Operation:
    made = done("The new subscription.", _whole())
    made["links"] = {
        name: {"operationId": name, "parameters": {"uuid": "$response.body#/uuid"}}
        for name in _FOLLOWING
    }
    return {
        "operationId": "createSubscription",
        "summary": "Create a subscription.",
        "requestBody": _body("NewSubscription", examples.NEW_SUBSCRIPTION),
        "responses": in_order(
            _OF_ALL,
            OF_A_BODY,
            {
                "200": made,
                "400": error(
                    f"The body breaks a rule. Or: {_BAD_HEADER}", example=examples.NOT_A_PATH
                ),
                "403": error(
                    f"The caller has {settings.eventmatch.max_subscriptions} subscriptions, "
                    f"which is the most. Or: {_NOT_THROUGH_PROXY}"
                ),
            },
        ),
    }


def _of_one(name: str, summary: str, content: dict[str, Any] | None) -> Operation:
    answer = done("It is in the body." if content else "It was done; the body is empty.", content)
    return {
        "operationId": name,
        "summary": summary,
        "responses": in_order(_of_a_path(f"The UUID is malformed. Or: {_BAD_HEADER}", answer)),
    }


def _change(name: str, summary: str, body: dict[str, Any], answer: Answer) -> Operation:
    meaning = f"The body breaks a rule, or the UUID is malformed. Or: {_BAD_HEADER}"
    return {
        "operationId": name,
        "summary": summary,
        "requestBody": body,
        "responses": in_order(_of_a_path(meaning, answer), OF_A_BODY),
    }


def _of_a_path(malformed: str, answer: Answer) -> Answers:
    own = {"200": answer, "400": error(malformed), "403": _NOT_YOURS}
    return in_order(_OF_ALL, UNKNOWN_PATH, own)


def _body(name: str, example: Any) -> dict[str, Any]:
    return {"required": True, "content": {JSON: {"schema": reference(name), "example": example}}}


def _whole() -> dict[str, Any]:
    return {"schema": reference("Subscription"), "example": examples.SUBSCRIPTION_READ}


def _form() -> dict[str, Any]:
    return {"schema": reference("Delivery"), "example": examples.DELIVERY}
