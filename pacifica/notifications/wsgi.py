"""The WSGI application for uWSGI and other servers.

The application is built on import. The first request connects it.
"""

import atexit
import gc

from pacifica.notifications import globals as locations
from pacifica.notifications.app import App
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.rest.errorlog import leave_access_to_uwsgi, warn_of_default_user
from pacifica.notifications.rest.root import application as _application
from pacifica.notifications.ui import Pages

try:
    _app = App.configured()
    application = _application(_app, locations.CHERRYPY_CONFIG, Pages)
except ConfigError as error:
    raise SystemExit(str(error)) from None
warn_of_default_user(_app.settings.notifications)
leave_access_to_uwsgi()
atexit.register(_app.close)

# All objects that are loaded now are permanent. Garbage collection of them could delay a request by
# a tenth of a second.
gc.collect()
gc.freeze()
