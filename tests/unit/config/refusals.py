"""What a configuration that cannot be used is refused with."""

import pytest

from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import ConfigError

#: One that is accepted; others are made of it that are not.
KEY = "3Q5rM2bXQPBLFpUqQyO3Yc0R3V3W6dC2JtVd1mJ8q0s="


def refused() -> str:
    """Return the one line that the configuration is refused with."""
    with pytest.raises(ConfigError) as refusal:
        load_settings()
    (line,) = str(refusal.value).splitlines()
    return line
