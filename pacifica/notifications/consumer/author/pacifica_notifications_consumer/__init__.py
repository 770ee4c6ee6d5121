"""What the entry point of a consumer imports: `download` and `upload`, which return promises.

A promise that is rejected raises nothing by itself: end with `.get()`, so that the entry point
fails where its transfers do.
"""

from .downloads import download
from .errors import TransferError
from .uploads import upload

__all__ = ["TransferError", "download", "upload"]
