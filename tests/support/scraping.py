"""What a scrape of `/metrics` says."""

import requests
from prometheus_client.parser import text_string_to_metric_families

PREFIX = "pacifica_notifications_"
_TIMEOUT = 10


def scrape(port: int) -> dict[str, float]:
    """Return the samples of a web server on this machine, as `samples` does."""
    return samples(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=_TIMEOUT))


def samples(answer: requests.Response) -> dict[str, float]:
    """Return the samples of a scrape by `name{label=value}`, the names without the prefix."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        sample.name.removeprefix(PREFIX)
        + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
