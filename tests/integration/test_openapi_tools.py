"""What others make of the API's description: linters, and a generated client."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest

from tests.integration.test_openapi import described
from tests.integration.webservice import Service
from tests.support.linters import redocly, spectral
from tests.support.processes import BIN

GENERATING = 60
PACKAGE = "generated_client"
PLAIN = described()
GUARDED = described(receive_token=("t",), receive_allow_addresses=("10.0.0.0/8",))


@pytest.mark.parametrize("document", [PLAIN, GUARDED], ids=["plain", "guarded"])
@pytest.mark.parametrize("lint", [spectral, redocly])
def test_linter_finds_nothing_in_the_description(
    lint: Callable[[dict[str, Any], Path], list[str]], document: dict[str, Any], tmp_path: Path
) -> None:
    assert lint(document, tmp_path) == []


@pytest.mark.parametrize("lint", [spectral, redocly])
def test_linter_finds_what_is_wrong(
    lint: Callable[[dict[str, Any], Path], list[str]], tmp_path: Path
) -> None:
    document = json.loads(json.dumps(PLAIN))
    del document["paths"]["/receive"]["post"]["operationId"]
    assert len(lint(document, tmp_path)) == 1


class Generated:
    """The package that `openapi-python-client` makes of the description that is served."""

    def __init__(self, service: Service, user: str) -> None:
        self.models = self._module("models")
        client = self._module("client").AuthenticatedClient
        self.client = client(
            service.url, token=user, prefix="", auth_header_name="Http-Remote-User"
        )

    def call(self, operation: str, *arguments: Any, **options: Any) -> Any:
        """Call an operation, such as `subscriptions.read_subscription`; return its response."""
        return self._module(f"api.{operation}").sync_detailed(
            *arguments, client=self.client, **options
        )

    def new(self, **changed: Any) -> Any:
        """Return a new subscription as its body is made."""
        fields = {"name": "mine", "jsonpath": "$.data", "target_url": "http://target.example/"}
        return self.models.NewSubscription.from_dict({**fields, **changed})

    def _module(self, name: str) -> ModuleType:
        return importlib.import_module(f"{PACKAGE}.{name}")


@pytest.fixture(scope="module")
def generated_from(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[Service]:
    """Generate the client from what a service serves."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_bytes(service.call("GET", "/openapi.json").content)
    (folder / "settings.yaml").write_text("post_hooks: []\n")  # by default it formats its code
    command = [BIN / "openapi-python-client", "generate", "--path", "openapi.json"]
    options = ["--meta", "none", "--output-path", PACKAGE, "--config", "settings.yaml"]
    ended = subprocess.run(
        [*command, *options, "--fail-on-warning"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=GENERATING,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield service
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def client(generated_from: Service, user: str) -> Iterator[Generated]:
    generated = Generated(generated_from, user)
    with generated.client:
        yield generated


def test_generated_client_makes_lists_reads_changes_and_deletes_a_subscription(
    client: Generated, user: str
) -> None:
    auth = {"type": "basic", "basic": {"username": "u", "password": "p"}}
    extensions = {"workflow": "convert"}
    body = client.new(auth=auth, extensions=extensions)
    made = client.call("subscriptions.create_subscription", body=body).parsed
    assert isinstance(made.uuid, UUID)
    assert (made.user, made.disabled, made.auth.to_dict()) == (user, None, auth)
    assert made.extensions.to_dict() == extensions
    assert client.call("subscriptions.list_subscriptions", limit=1).parsed == [made]

    changes = client.models.SubscriptionChanges.from_dict(
        {**made.to_dict(), "name": "another", "error": "why"}
    )
    changes.disabled = datetime(2026, 1, 31, 12, tzinfo=UTC)
    changed = client.call("subscriptions.change_subscription", str(made.uuid), body=changes).parsed
    assert (changed.name, changed.error) == ("another", "why")
    assert changed.disabled.startswith("2026-01-31T12:00:00")
    read = client.call("subscriptions.read_subscription", str(made.uuid)).parsed
    assert read == changed

    others = {"format": "event", "digest": "each", "tell_owner": True}
    form = client.models.Delivery.from_dict({"specversion": "1.0", "mode": "binary", **others})
    path = str(made.uuid)
    assert client.call("subscriptions.change_delivery", path, body=form).parsed == form
    assert client.call("subscriptions.read_delivery", path).parsed == form
    for operation in ("list_subscriptions", "read_subscription", "read_delivery"):
        arguments = () if operation == "list_subscriptions" else (path,)
        assert client.call(f"subscriptions.{operation}_head", *arguments).status_code == 200

    assert client.call("subscriptions.delete_subscription", path).status_code == 200
    assert client.call("subscriptions.list_subscriptions").parsed == []


def test_generated_client_reads_errors(client: Generated) -> None:
    response = client.call("subscriptions.create_subscription", body=client.new(jsonpath="$["))
    assert response.status_code == 400
    assert response.parsed.fields[0].field == "jsonpath"
    unknown = "466725b0-cbe1-45cd-b034-c3209aa4b6e0"
    refused = client.call("subscriptions.read_subscription", unknown).parsed
    assert refused.message == "there is no such subscription of yours"


EVENT_0_1 = {"cloudEventsVersion": "0.1", "eventType": "t", "source": "s", "eventID": "1"}
EVENT_1_0 = {"specversion": "1.0", "type": "t", "source": "s", "id": "1"}


@pytest.mark.parametrize(
    ("model", "event"),
    [
        ("Event01", {**EVENT_0_1, "extensions": {"a": 1}, "data": [{"value": 1}]}),
        ("Event03", {**EVENT_1_0, "specversion": "0.3", "data": {"value": 1}}),
        ("Event10", {**EVENT_1_0, "time": "2026-01-31T12:00:00Z", "data": True, "ext": "x"}),
        ("EventOrObjectType1", {"any": ["thing"]}),
    ],
    ids=["0.1", "0.3", "1.0", "an object"],
)
def test_generated_client_sends_an_event(
    client: Generated, model: str, event: dict[str, Any]
) -> None:
    body = getattr(client.models, model).from_dict(event)
    response = client.call("events.send_event", body=body)
    assert response.status_code == 200, response.content
    assert UUID(response.content.decode())


def test_generated_client_sends_an_event_in_binary_mode(client: Generated) -> None:
    data = importlib.import_module(f"{PACKAGE}.types").File(BytesIO(b"\0\xff"))
    attributes = {f"ce_{name}": value for name, value in EVENT_1_0.items()}
    response = client.call("events.send_event", body=data, **attributes)
    assert response.status_code == 200, response.content


def test_generated_client_reads_the_description(client: Generated) -> None:
    found = client.call("description.describe").parsed.to_dict()
    assert found["paths"].keys() == PLAIN["paths"].keys()
    assert client.call("description.describe_head").status_code == 200
