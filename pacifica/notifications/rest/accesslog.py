"""The access log: the same lines as CherryPy's, in a third of the time, with the event's id."""

import logging
import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import cherrypy
from cherrypy import _cplogging

from pacifica.notifications.rest.admission import comes_from
from pacifica.notifications.settings import Network

#: Apache's combined format, and the id of the event that was received, which CherryPy's format
#: has as the id of the request.
FORMAT = f"{_cplogging.LogManager.access_log_format} {{i}}"
# Characters that CherryPy writes unchanged; it escapes any other.
_PLAIN = re.compile(r"[ !#-&(-\[\]-~]*")
_MAX_ADDRESSES = 10

Line = str | dict[str, Any]


class AccessLog(_cplogging.LogManager):
    """Writes a line for each request, in the format `access_log_format`.

    The client is the one that a proxy in `trusted_proxies` names. With `as_json`, lines are dicts
    for JsonFormatter.
    """

    access_log_format = FORMAT
    trusted_proxies: tuple[Network, ...] = ()
    as_json = False

    def access(self) -> None:
        """Write the line of the request that has just been served."""
        request, response = cherrypy.serving.request, cherrypy.serving.response
        if not isinstance(request.unique_id, str):
            request.unique_id = "-"  # no event was received
        if request.path_info.startswith("/mail/"):  # whose query is as good as a password
            method, _, rest = request.request_line.partition(" ")
            target, _, protocol = rest.rpartition(" ")
            request.request_line = f"{method} {target.partition('?')[0]} {protocol}"
        if self.trusted_proxies:
            client = self.client(request.wsgi_environ)
            request.remote = cherrypy.lib.httputil.Host(client, request.remote.port, client)
        line = self.line(
            client=request.remote.name or request.remote.ip,
            login=request.login or "-",
            request=request.request_line,
            status=(response.output_status or b"-").split(b" ", 1)[0].decode("latin-1"),
            size=dict.get(response.headers, "Content-Length") or "-",
            referer=dict.get(request.headers, "Referer", ""),
            agent=dict.get(request.headers, "User-Agent", ""),
            event=request.unique_id,
        )
        if line is None:
            super().access()
        else:
            self.write(line)

    def client(self, environ: Mapping[str, Any]) -> str:
        """Return the address of a request's client, as a trusted proxy says if it sent it.

        Each proxy adds the address that it was called from, so the last one that is no proxy's is
        the client's.
        """
        peer: str = environ.get("REMOTE_HOST") or environ.get("REMOTE_ADDR", "")
        if not self.trusted_proxies or not comes_from(self.trusted_proxies, environ):
            return peer
        given = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")[-_MAX_ADDRESSES:]
        for address in (each.strip() for each in reversed(given)):
            try:
                ip_address(address)
            except ValueError:
                break
            if not comes_from(self.trusted_proxies, {"REMOTE_ADDR": address}):
                return address
        return peer

    def line(
        self,
        *,
        client: str,
        login: str,
        request: str,
        status: object,
        size: object,
        referer: str,
        agent: str,
        event: str,
    ) -> Line | None:
        """Return a line; None for another format, or for text that must be escaped."""
        if self.as_json:
            return {
                "client": client,
                "user": login,
                "request": request,
                "status": str(status),
                "bytes": str(size),
                "referer": referer,
                "agent": agent,
                "event": event,
            }
        if self.access_log_format != FORMAT:
            return None
        if not _PLAIN.fullmatch(f"{client}{login}{request}{referer}{agent}"):
            return None
        return (
            f'{client} - {login} {self.time()} "{request}" {status} {size} "{referer}" "{agent}" '
            f"{event}"
        )

    def write(self, line: Line) -> None:
        """Write a line, without the costly search for the calling code."""
        log = self.access_log
        if log.isEnabledFor(logging.INFO):
            text = line if isinstance(line, str) else line["request"]
            record = log.makeRecord(log.name, logging.INFO, "", 0, text, (), None)
            if isinstance(line, dict):
                record.fields = line
            log.handle(record)
