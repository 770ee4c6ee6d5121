"""Duties that one worker at a time has."""

from datetime import timedelta

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm.models import Lease
from pacifica.notifications.orm.transaction import writing


@writing
def take_lease(name: str, seconds: float) -> bool:
    """Take a duty for some seconds; False while another worker's lease on it runs."""
    now = utcnow()
    expires = now + timedelta(seconds=seconds)
    taken = Lease.update(expires=expires).where(Lease.name == name, Lease.expires <= now).execute()
    if taken or Lease.get_or_none(Lease.name == name):
        return bool(taken)
    try:
        with Lease.atomic():
            Lease.create(name=name, expires=expires)
    except peewee.IntegrityError:  # another worker was first
        return False
    return True
