"""How a request is read before any resource sees it."""

from cherrypy import _cprequest

from pacifica.notifications.rest.errors import error_page_default


class Request(_cprequest.Request):
    """A request whose headers mean what they say, and whose errors are JSON from the first line."""

    error_page = {"default": error_page_default}  # noqa: RUF012 CherryPy copies it
    show_tracebacks = False
    header_list: list[tuple[str, str]]

    def process_headers(self) -> None:
        """Take headers as they came.

        CherryPy would decode what looks like a word encoded by RFC 2047, which fails for some and
        lets others pass as a name that they are not.
        """
        came = self.header_list
        self.header_list = [(name, "" if "=?" in value else value) for name, value in came]
        super().process_headers()
        self.header_list = came
        for name, value in came:
            if "=?" in value:
                dict.__setitem__(self.headers, name.title(), value.strip())
