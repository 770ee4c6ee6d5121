"""A cart of the Cart service: filled with files, waited for, read and deleted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus

from pacifica.downloader.cartapi import CartAPI

from .configured import Configured
from .errors import ServiceError
from .records import FileRecord
from .services import Service
from .waiting import Deadline, wait_for

# What Cart is told to call the folder in its tar; where it bundles, that is called as the cart.
_FOLDER = "data"


class Cart:
    """A cart that is ready."""

    def __init__(self, service: Service, url: str, deadline: Deadline) -> None:
        self._service = service
        self._url = url
        self._deadline = deadline
        self.roots = (_FOLDER, url.rpartition("/")[2])

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], bytes]]:
        """Give what reads at most so many bytes of its tar; raises ServiceError."""
        query = {"filename": _FOLDER}
        with self._service.opened("GET", self._url, params=query) as response:
            if response.status_code != HTTPStatus.OK:
                raise ServiceError("Cart", f"answered {response.status_code} and no files", 200)
            yield self._service.reader(response, self._deadline)


@contextmanager
def filled(records: Sequence[FileRecord], configured: Configured) -> Iterator[Cart]:
    """Give a cart of the files once it is ready, and delete it at the end."""
    deadline = Deadline(configured.timeout)
    with Service("Cart", configured) as service:
        api = CartAPI(cart_api_url=configured.cart, session=service)
        try:
            url = api.setup_cart(lambda: map(_wanted, records))
        except AssertionError as error:  # its way to refuse a success that is not 201
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
            # Cart keeps what it is not told to drop, but that is no reason to fail.
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
