"""The period of a job."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True)
class Period:
    """A time from `start` on, up to `end`, which is not included; naive UTC."""

    start: datetime
    end: datetime

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        """Return what a job's request says."""
        return cls(*(datetime.fromisoformat(written[name]) for name in ("start", "end")))

    def written(self) -> dict[str, str]:
        """Return it as a part of a job's request."""
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}
