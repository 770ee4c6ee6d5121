"""The WSGI application, for uWSGI and the like; assembled here, connected by the first request."""

from pacifica.notifications import globals as locations
from pacifica.notifications.rest.root import application as _application

application = _application(locations.CHERRYPY_CONFIG)
