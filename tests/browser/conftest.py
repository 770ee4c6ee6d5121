"""What tests of this tier share: one browser for all of them, and a web server for each module."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration.webservice import Service, some_user
from tests.support.browsing import Reader, chromium, page_service, seed
from tests.support.wholepage import WholePage, whole_page


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Run the browser; the tests are skipped where there is none."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def service(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Run a web server, only where there is a browser."""
    assert browser.is_connected()
    with page_service(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def seeded(service: Service) -> str:
    """Name a user who has subscriptions in each state."""
    user = some_user()
    seed(service, user)
    return user


@pytest.fixture
def reader(service: Service, browser: Any) -> Iterator[Callable[..., Reader]]:
    """Return a function that gives a person a window; nothing may complain in any of them."""
    with ExitStack() as windows:
        readers: list[Reader] = []

        def reads(user: str | None = None, **options: Any) -> Reader:
            given = Reader(service, browser, user or some_user(), options)
            readers.append(given)
            return windows.enter_context(given)

        yield reads
        for each in readers:
            assert each.complaints == []


@pytest.fixture(scope="session")
def whole(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholePage]:
    """Run a service with something on every screen, only where there is a browser."""
    assert browser.is_connected()
    with whole_page(tmp_path_factory.mktemp("whole")) as page:
        yield page
