"""Settings with other values than the configuration's, by `section_field`."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

from pacifica.notifications.settings import Settings


def changed(settings: Settings, **values: Any) -> Settings:
    """Return settings with some values changed, such as `delivery_attempts=1`."""
    sections: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in values.items():
        section, _, field = name.partition("_")
        sections[section][field] = value
    return replace(
        settings,
        **{name: replace(getattr(settings, name), **some) for name, some in sections.items()},
    )
