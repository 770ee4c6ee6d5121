"""The WSGI application, for uWSGI and the like; assembled here, connected by the first request."""

import atexit
import gc

from pacifica.notifications import globals as locations
from pacifica.notifications.app import App
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.rest.root import application as _application

try:
    _app = App.configured()
    application = _application(_app, locations.CHERRYPY_CONFIG)
except ConfigError as error:
    raise SystemExit(str(error)) from None
atexit.register(_app.close)

# What is loaded by now stays. To have it collected took a request a tenth of a second at times.
gc.collect()
gc.freeze()
