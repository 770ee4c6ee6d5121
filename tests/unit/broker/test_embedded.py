"""The embedded broker's folder."""

import os
import stat
from pathlib import Path

import pytest

from pacifica.notifications.broker.settings import BrokerSettings, celery_settings, embedded_url


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_folder_is_private_when_it_is_created(tmp_path: Path) -> None:
    folder = tmp_path / "queue"
    celery_settings(BrokerSettings(embedded_url(folder), "", 1.0, 60.0))
    for each in (folder, folder / "messages", folder / "control"):
        assert stat.S_IMODE(each.stat().st_mode) == 0o700
