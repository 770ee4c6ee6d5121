"""Cursors for MySQL and MariaDB that tell when a statement is larger than the server takes."""

from typing import Any

from pymysql.cursors import Cursor  # type: ignore[import-untyped]

from pacifica.notifications.errors import TooLarge

# Any server takes half a megabyte; asked before each statement, it would answer twice as much.
_ANYWAY = 2**19


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
