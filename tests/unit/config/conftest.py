"""A service that is configured by nothing but its test."""

from pathlib import Path

import pytest

from pacifica.notifications.settings import KEYS


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configure nothing, and return the file that would."""
    for key in KEYS:
        for variable in (key.environment, *key.other_variables):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", str(tmp_path / "config.ini"))
    monkeypatch.setenv("NOTIFICATIONS_CPCONFIG", str(tmp_path / "cpconfig.ini"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "config.ini"
