"""Pages that say what went wrong, and the way out."""

from typing import Final

from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.ui.screens import Page

# For each status a title, and what the reader can do.
_WORDS: Final = {
    400: ("This request is not understood", "Go back, check what you entered, and try again."),
    401: ("You are not signed in", "Sign in, and open this page again."),
    403: (
        "This is not available to you",
        "It may belong to somebody else, or have been deleted. Go back to your subscriptions.",
    ),
    404: ("There is no such page", "The address may be misspelt. Start from your subscriptions."),
    405: ("This cannot be done here", "Start from your subscriptions."),
    409: ("This cannot be done now", "Go back to your subscriptions, and check their state."),
    413: ("This is too large", "Go back, and send less, such as an event with fewer files."),
    415: ("This request is not understood", "Go back, and send the form of the page."),
    429: ("Too many requests", "Wait for a moment, and try again."),
    500: (
        "Something went wrong on our side",
        "Try again. If it goes on, tell whoever runs this service when it happened.",
    ),
    503: (
        "The service is busy or not complete at the moment",
        "Nothing is lost. Wait for a minute, and try again.",
    ),
}
_OTHER = ("Something went wrong", "Go back to your subscriptions, and try again.")
_OTHER_USER = (
    "Somebody else is signed in now",
    "Open the page again, check the name at the top right, and send the form as yourself.",
)


class OtherUser(ApiError):
    """A form that was made for another user than the one who sends it (409).

    The user changes when somebody else signs in at the proxy, in another tab for example.
    """

    def __init__(self) -> None:
        super().__init__(409, "this form was made for another user, and nothing was changed")


def problem_page(error: ApiError) -> Page:
    """Return the page about an error."""
    title, way_out = _WORDS.get(error.code, _OTHER)
    if isinstance(error, OtherUser):
        title, way_out = _OTHER_USER
    return Page(
        "problem.html",
        {
            "title": title,
            "message": error._message,
            "way_out": way_out,
            "status": error.status_line,
            "here": "",
        },
        error.code,
    )
