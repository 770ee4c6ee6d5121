"""PyMySQL for many connections to MySQL or MariaDB, and for statements of any length."""

from functools import cache
from typing import Any

import peewee
from pymysql.connections import Connection  # type: ignore[import-untyped]
from pymysql.cursors import Cursor  # type: ignore[import-untyped]

from pacifica.notifications.errors import TooLarge

_PEEWEE: Any = peewee  # its type stubs leave out what is used here
# Any server takes half a megabyte; asked before each statement, it would answer twice as much.
_ANYWAY = 2**19


class QuickMySql(_PEEWEE.MySQLDatabase):
    """A peewee database whose connections cost next to nothing to open."""

    def _connect(self) -> Any:
        return _Connection(database=self.database, autocommit=True, **self.connect_params)


class _Connection(Connection):
    """A connection that shares its TLS context where no option says anything of TLS.

    PyMySQL prepares one for each, also where the server has no TLS. That takes 30 ms of a
    processor: threads that all lost their connections would wait for each other for seconds. To
    pass one as an option would make TLS compulsory.
    """

    def _create_ssl_ctx(self, options: Any) -> Any:
        return super()._create_ssl_ctx(options) if options else _usual_context()


@cache
def _usual_context() -> Any:
    return Connection(defer_connect=True).ctx


class BoundedCursor(Cursor):
    """A cursor that raises TooLarge for what the server would end the connection for."""

    def execute(self, query: str, args: Any = None) -> int:
        """Execute one statement."""
        statement = self.mogrify(query, args)
        if len(statement) > _ANYWAY // 4:
            self._require_acceptable(len(statement.encode("utf-8", "surrogateescape")))
        return super().execute(statement)

    def _require_acceptable(self, size: int) -> None:
        if size <= _ANYWAY:
            return
        super().execute("SELECT @@max_allowed_packet")
        most = int((self.fetchone() or (0,))[0])
        if size + 1 >= most:  # with the byte that says that it is a statement
            raise TooLarge(most)
