"""PyMySQL with cheap connections, and with a check of a statement's length."""

from typing import Any

import peewee
from pymysql.connections import Connection  # type: ignore[import-untyped]
from pymysql.cursors import Cursor  # type: ignore[import-untyped]

from pacifica.notifications.errors import TooLarge

_PEEWEE: Any = peewee  # its type stubs omit members that are used here
# Bytes that any server accepts in one statement; asking for its limit doubles the round trips.
_ALWAYS_ACCEPTED = 2**19


class MySqlDatabase(_PEEWEE.MySQLDatabase):
    """A peewee database with cheap connections, which share one TLS context.

    PyMySQL creates a context for each connection, even if the server has no TLS. That takes 30 ms
    of processor time: threads that all lost their connections would wait for each other for
    seconds. Passing a context as an option would make TLS compulsory.
    """

    def init(self, database: str, **options: Any) -> None:
        """Configure the database without connecting; raise TypeError or ValueError."""
        super().init(database, **options)
        context = getattr(Connection(defer_connect=True, **self.connect_params), "ctx", None)
        self._connection_class = type("Connection", (_Connection,), {"context": context})

    def _connect(self) -> Any:
        return self._connection_class(
            database=self.database, autocommit=True, **self.connect_params
        )


class _Connection(Connection):
    """A connection that uses the TLS `context` of its class."""

    context: Any

    def _create_ssl_ctx(self, _options: Any) -> Any:
        return self.context


class BoundedCursor(Cursor):
    """A cursor that raises TooLarge for a statement that would end the connection."""

    def execute(self, query: str, args: Any = None) -> int:
        """Execute one statement."""
        statement = self.mogrify(query, args)
        if len(statement) > _ALWAYS_ACCEPTED // 4:
            self._require_acceptable(len(statement.encode("utf-8", "surrogateescape")))
        return super().execute(statement)

    def _require_acceptable(self, size: int) -> None:
        if size <= _ALWAYS_ACCEPTED:
            return
        super().execute("SELECT @@max_allowed_packet")
        max_size = int((self.fetchone() or (0,))[0])
        if size + 1 >= max_size:  # one byte says that the packet is a statement
            raise TooLarge(max_size)
