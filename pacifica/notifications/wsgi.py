"""The WSGI application, for uWSGI and the like; assembled here, connected by the first request."""

import gc

from pacifica.notifications import globals as locations
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.rest.root import application as _application
from pacifica.notifications.rest.service import settings as _settings

try:
    _settings()
    application = _application(locations.CHERRYPY_CONFIG)
except ConfigError as error:
    raise SystemExit(str(error)) from None

# What is loaded by now stays: going through it took a request a tenth of a second now and then.
gc.collect()
gc.freeze()
