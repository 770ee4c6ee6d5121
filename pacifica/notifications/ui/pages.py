"""The resource at `/ui`: admits requests, finds their screen, and answers with HTML."""

from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final

import cherrypy
from cherrypy.lib.httputil import parse_query_string

from pacifica.notifications.rest.access import is_operator
from pacifica.notifications.rest.admission import get_remote_user, require_proxy
from pacifica.notifications.rest.body import close_unread, read_form
from pacifica.notifications.rest.context import KEY, Context
from pacifica.notifications.rest.errors import ApiError, api_error, unexpected_error
from pacifica.notifications.ui import (
    calendar,
    deliveries,
    operators,
    replay,
    subscription_form,
    subscription_list,
    why,
    workbench,
)
from pacifica.notifications.ui.assets import Assets
from pacifica.notifications.ui.origin import is_same_origin
from pacifica.notifications.ui.problems import OtherUser, problem_page
from pacifica.notifications.ui.rendering import Templates
from pacifica.notifications.ui.screens import Page, Redirect, Route, Visit

_ROUTES: Final = (
    *subscription_list.ROUTES,
    *subscription_form.ROUTES,
    *deliveries.ROUTES,
    *replay.ROUTES,
    *why.ROUTES,
    *workbench.ROUTES,
    *calendar.ROUTES,
    *operators.ROUTES,
)
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # No other site learns from where a reader comes, nor what they were looking for.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_HTML = "text/html; charset=utf-8"
_LAST_RESORT: Final = (
    b'<!doctype html><html lang="en"><title>Something went wrong</title>'
    b"<h1>Something went wrong on our side</h1>"
    b"<p>Try again later, or tell whoever runs this service.</p>"
)
_FOR_EVER = "public, max-age=31536000, immutable"
_ASSET_SEGMENTS = 3
_TAG_DIGITS = 16


class Pages:
    """The web page."""

    exposed = True

    def __init__(self, shared: Context) -> None:
        self._cp_config = {
            KEY: shared,
            "hooks.before_handler": _keep_parameters,
            # No page has a secret that its length could tell beside what others chose.
            "tools.gzip.on": True,
            "tools.gzip.mime_types": ["text/html", "text/css", "text/javascript", "image/svg+xml"],
            "tools.response_headers.on": False,
            "tools.trailing_slash.on": False,
        }
        self._assets = Assets()
        self._templates = Templates(self._assets)

    def GET(self, *segments: str) -> bytes:  # noqa: N802
        """Return a screen or a static file."""
        cherrypy.response.headers.update(_HEADERS)
        if segments[:1] == ("static",) and len(segments) == _ASSET_SEGMENTS:
            return self._static(*segments[1:])
        path: str = cherrypy.request.path_info
        if path.endswith("/") != (not segments):  # relative links need it so
            last = path.rstrip("/").rpartition("/")[2]
            return _go("./ui/" if not segments else f"../{last}")
        return self._answer("GET", segments)

    def POST(self, *segments: str) -> bytes:  # noqa: N802
        """Make a change, or show what a form asks for."""
        cherrypy.response.headers.update(_HEADERS)
        return self._answer("POST", segments)

    def _static(self, digest: str, name: str) -> bytes:
        asset = self._assets.find(name)
        headers = cherrypy.response.headers
        if asset is None:
            return self._problem(ApiError(404, "there is nothing at this path"), "../../")
        headers["Content-Type"] = asset.type
        headers["ETag"] = f'"{asset.digest}"'
        # A page of another release may ask for a file of that release.
        headers["Cache-Control"] = _FOR_EVER if asset.digest == digest else "no-cache"
        if headers["ETag"] in cherrypy.request.headers.get("If-None-Match", ""):
            cherrypy.response.status = 304
            return b""
        return asset.content

    def _answer(self, method: str, segments: tuple[str, ...]) -> bytes:
        root = "../" * (len(segments) - 1) or "./"
        user = ""
        try:
            if method == "POST" and not is_same_origin(cherrypy.request.headers):
                raise ApiError(
                    403,
                    "changes are taken from this page itself alone",
                    headers=close_unread(),
                )
            require_proxy()
            user = get_remote_user()
            route, arguments = _route(method, segments)
            answer = route.handler(_visit(user, route), *arguments)
            if isinstance(answer, Redirect):
                return _go(f"{root}{answer.path}")
            return self._page(answer, root, user)
        except Exception as error:  # noqa: BLE001 the edge: whatever it is becomes a page
            return self._problem(api_error(error) or unexpected_error(), root, user)

    def _problem(self, error: ApiError, root: str, user: str = "") -> bytes:
        cherrypy.response.headers.update(error.headers)
        if error.code == HTTPStatus.METHOD_NOT_ALLOWED:
            cherrypy.response.headers["Allow"] = "GET, HEAD, POST"
        try:
            return self._page(problem_page(error), root, user)
        except Exception:  # noqa: BLE001 the template of all pages fails
            unexpected_error()
            return _LAST_RESORT

    def _page(self, page: Page, root: str, user: str) -> bytes:
        response = cherrypy.response
        response.status = page.status
        response.headers["Content-Type"] = _HTML
        response.headers["Cache-Control"] = "no-store"
        everywhere = {"root": root, "user": user, "is_operator": bool(user) and is_operator(user)}
        body = self._templates.render(page.template, {**everywhere, **page.values})
        if page.status == HTTPStatus.OK:  # for what asks for it again and again
            tag = f'"{sha256(body).hexdigest()[:_TAG_DIGITS]}"'
            response.headers["ETag"] = tag
            if tag in cherrypy.request.headers.get("If-None-Match", ""):
                response.status = 304
                return b""
        return body


def _keep_parameters() -> None:
    """Keep CherryPy from passing the query to the handler, whose arguments are segments."""
    cherrypy.request.params = {}


def _route(method: str, segments: tuple[str, ...]) -> tuple[Route, tuple[str, ...]]:
    """Return the route of a request; refuse an unknown path (404) or another method (405)."""
    at_path = [
        (route, arguments)
        for route in _ROUTES
        if (arguments := route.arguments(segments)) is not None
    ]
    for route, arguments in at_path:
        if route.method == method:
            return route, arguments
    if at_path:
        raise ApiError(405, f"{method} is not allowed here")
    raise ApiError(404, "there is nothing at this path")


def _visit(user: str, route: Route) -> Visit:
    given: Mapping[str, Any] = parse_query_string(cherrypy.request.query_string)
    query = {name: value for name, value in given.items() if isinstance(value, str)}
    if route.method == "GET":
        return Visit(user, query)
    form = read_form(route.max_body, route.max_fields)
    if form.get("made_for") != user:
        raise OtherUser
    return Visit(user, query, form)


def _go(path: str) -> bytes:
    """Redirect to a relative path, which is right behind any proxy (RFC 9110, 10.2.2)."""
    cherrypy.response.status = 303
    cherrypy.response.headers["Location"] = path
    cherrypy.response.headers["Cache-Control"] = "no-store"
    return b""
