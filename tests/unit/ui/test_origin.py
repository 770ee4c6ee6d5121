"""Which requests are taken for a change that this page itself asks for."""

import pytest

from pacifica.notifications.ui.origin import is_same_origin


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://a.example", "Host": "inside:8070"},
        {"Origin": "https://a.example", "Host": "a.example"},
        {"Origin": "https://a.example:8443", "Host": "a.example:8443"},
        {"Origin": "http://a.example", "Host": "a.example:80"},
        {"Origin": "https://a.example", "Host": "inside:8070", "X-Forwarded-Host": "a.example"},
        {"Origin": "http://[::1]:8070", "Host": "[::1]:8070"},
    ],
    ids=str,
)
def test_own_page_may_make_changes(headers: dict[str, str]) -> None:
    assert is_same_origin(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "a.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://a.example", "Host": "a.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
        {"Origin": "null", "Host": "a.example"},
        {"Origin": "https://evil.example", "Host": "a.example"},
        {"Origin": "https://a.example.evil.example", "Host": "a.example"},
        {"Origin": "https://a.example:8443", "Host": "a.example"},
        {"Origin": "https://evil.example", "Host": "a.example", "X-Forwarded-Host": "a.example"},
        {"Origin": "https://[", "Host": "a.example"},
        {"Origin": "https://a.example:99999", "Host": "a.example"},
        {"Origin": "https://", "Host": ""},
    ],
    ids=str,
)
def test_other_pages_may_not(headers: dict[str, str]) -> None:
    assert not is_same_origin(headers)
