"""The embedded broker: kombu's filesystem transport, with atomic writes.

kombu itself writes a message in the folder that workers read. A worker that reads a half-written
message cannot parse it, and ends.
"""

import logging
import time
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps, loads

_LOG = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    """Messages as files in one folder, oldest first."""

    def _put(  # type: ignore[override]  # kombu's own two declarations differ
        self, queue: str, message: Any, **_options: Any
    ) -> None:
        folder = Path(self.data_folder_out)
        unfinished = folder / f"{uuid4()}.unfinished"
        try:
            unfinished.write_text(dumps(message), encoding="utf-8")
            unfinished.rename(folder / f"{time.time_ns():020}_{uuid4()}.{queue}.msg")
        except OSError as error:
            raise ChannelError(f"a message could not be written to {folder}") from error

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002
        for file in sorted(Path(self.data_folder_in).iterdir()):
            if file.name.partition(".")[2] != f"{queue}.msg":
                continue
            try:
                text = file.read_text(encoding="utf-8")
                file.unlink()
            except OSError:  # another worker has taken it
                continue
            try:
                return loads(text)
            except ValueError:  # a power cut left it empty; the sweep finds the work that it named
                _LOG.warning("a message that cannot be read was dropped")
        raise Empty

    def _queue_bind(self, *_binding: Any) -> None:
        """Do nothing: a message names its queue.

        The table of bindings would be one more file that could be read half-written.
        """


class Transport(filesystem.Transport):
    """The transport that `broker_transport` names for `filesystem://`."""

    Channel = Channel
