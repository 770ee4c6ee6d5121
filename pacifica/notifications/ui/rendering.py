"""Makes HTML of templates; whatever a value holds, it is shown as text."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pacifica.notifications.clock import utcnow
from pacifica.notifications.ui.assets import Assets


class Templates:
    """The templates of the page, each of which is compiled when it is first used."""

    def __init__(self, assets: Assets) -> None:
        self._environment = Environment(
            loader=PackageLoader("pacifica.notifications.ui"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters["when"] = when
        self._environment.filters["counted"] = counted
        self._environment.globals["asset"] = assets.path

    def render(self, template: str, values: Mapping[str, Any]) -> bytes:
        """Return a page in UTF-8; a lone surrogate, which UTF-8 has not, becomes `?`."""
        text = self._environment.get_template(template).render(values)
        return text.encode("utf-8", "replace")


def when(moment: datetime | str) -> Markup:
    """Return a time in UTC, or its text in ISO 8601, which a script shows in the reader's zone."""
    value = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    date = "" if value.date() == utcnow().date() else f"{value.day} {value:%b %Y}, "
    return Markup('<time datetime="{}Z" title="{} UTC">{} UTC</time>').format(
        value.isoformat(timespec="seconds"),
        value.isoformat(" ", timespec="seconds"),
        f"{date}{value:%H:%M}",
    )


def counted(number: int, singular: str, plural: str = "") -> str:
    """Return a number and what it counts, such as `1,204 records`."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"
