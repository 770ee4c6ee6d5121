"""The objects that the API's resources share, found through the current request."""

import threading

import cherrypy

from pacifica.notifications.app import App
from pacifica.notifications.rest.limits import BoundedLock, RateLimiter, UsersUnderWay
from pacifica.notifications.rest.targets import TargetChecks
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.pull import Puller

#: The entry in a request's CherryPy configuration that holds its context.
KEY = "notifications.context"
# Where CherryPy's configuration does not say how many threads a process has.
_THREADS = 16
# So many searches for events of one user are under way at a time.
_MAX_SEARCHES = 4


class Context:
    """The process's App, with the API's rate limits, target checks and lock.

    Without an App, the first request builds one from the configuration. So a Root also works when
    it is mounted by hand.
    """

    def __init__(self, app: App | None = None) -> None:
        self._lock = threading.Lock()
        self._app: App | None = None
        self._puller: Puller | None = None
        self.rates: RateLimiter
        self.targets: TargetChecks
        self.large_bodies: BoundedLock
        self.traces: BoundedLock
        self.searches = UsersUnderWay(_MAX_SEARCHES)
        if app is not None:
            self._use(app)

    @property
    def app(self) -> App:
        """The App of this process; raises ConfigError if it cannot be built."""
        if self._app is None:
            with self._lock:
                if self._app is None:
                    self._use(App.configured())
        assert self._app is not None  # noqa: S101 for the type checker
        return self._app

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.app.settings

    @property
    def puller(self) -> Puller:
        """What fetches for this process; half of its threads may wait, as far as it is known."""
        app = self.app
        with self._lock:  # by now, CherryPy's configuration has been read
            if self._puller is None:
                threads = int(cherrypy.config.get("server.thread_pool", _THREADS))
                waiting = min(app.settings.pull.waiting, threads // 2)
                self._puller = Puller(app.settings.pull, waiting, app.tallies)
            return self._puller

    def _use(self, app: App) -> None:
        limits = app.settings.eventmatch
        self.rates = RateLimiter(limits.rate, limits.burst, limits.rate_users)
        self.targets = TargetChecks(app.settings.delivery, app.to_targets)
        receive = app.settings.receive
        waiting, wait = receive.parse_waiting, receive.parse_wait
        self.large_bodies = BoundedLock("large bodies are being read", waiting, wait)
        self.traces = BoundedLock("JSONPaths are being tried", waiting, wait)
        self._app = app


def context() -> Context:
    """Return the context of the request being served."""
    return cherrypy.request.config.get(KEY) or Context()
