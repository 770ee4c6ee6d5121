"""The settings of this process, read when the first request or entry point asks for them."""

from functools import cache

from pacifica.notifications.config import load_settings
from pacifica.notifications.settings import Settings


@cache
def settings() -> Settings:
    """Return the checked settings; raises ConfigError."""
    return load_settings()
