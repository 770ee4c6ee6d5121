"""A cart of the Cart service: creates, awaits, reads and deletes it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus

from pacifica.downloader.cartapi import CartAPI

from .configured import Configured
from .errors import ServiceError
from .records import FileRecord
from .services import Service
from .waiting import Deadline, wait_for

# The requested name of the folder in Cart's tar. Where Cart bundles, it uses the cart's name.
_FOLDER = "data"


class Cart:
    """A cart whose files are ready."""

    def __init__(self, service: Service, url: str, deadline: Deadline) -> None:
        self._service = service
        self._url = url
        self._deadline = deadline
        self.roots = (_FOLDER, url.rpartition("/")[2])

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], bytes]]:
        """Yield a function that reads a number of bytes of the tar; raise ServiceError."""
        query = {"filename": _FOLDER}
        with self._service.opened("GET", self._url, params=query) as response:
            if response.status_code != HTTPStatus.OK:
                raise ServiceError("Cart", f"answered {response.status_code} and no files", 200)
            yield self._service.reader(response, self._deadline)


@contextmanager
def filled(records: Sequence[FileRecord], configured: Configured) -> Iterator[Cart]:
    """Yield a cart of the files when it is ready, and delete it at the end."""
    deadline = Deadline(configured.timeout)
    with Service("Cart", configured) as service:
        api = CartAPI(cart_api_url=configured.cart, session=service)
        try:
            url = api.setup_cart(lambda: map(_wanted, records))
        except AssertionError as error:  # the client refuses a success other than 201
            raise service.misunderstood() from error
        try:
            wait_for(
                lambda: _is_ready(service, url),
                configured.poll,
                deadline,
                lambda: ("Cart", "get the files ready"),
            )
            yield Cart(service, url, deadline)
        finally:
            # Cart keeps a cart that is not deleted, but that is no reason to fail.
            with suppress(ServiceError):
                service.delete(url)


def _is_ready(service: Service, url: str) -> bool | None:
    status = service.head(url).headers.get("X-Pacifica-Status")
    if status == "ready":
        return True
    if status == "staging":
        return None
    raise ServiceError("Cart", f"says that the cart is {status!a}", 200)


def _wanted(record: FileRecord) -> dict[str, int | str]:
    return {
        "id": record.id,
        "path": record.path,
        "hashtype": record.hashtype,
        "hashsum": record.hashsum,
    }
