"""For consumers' entry points: `download` and `upload`, which return promises.

A rejected promise raises nothing by itself. End with `.get()`, so that the entry point fails if its
transfers fail.
"""

from .downloads import download
from .errors import TransferError
from .uploads import upload

__all__ = ["TransferError", "download", "upload"]
