"""The web page at `/ui`, rendered by the server.

A request takes this way: `pages` is the CherryPy resource and admits it, `origin` refuses forged
changes, a screen (`subscription_list`, `subscription_form`, `workbench`) decides what is shown by
the functions that the REST API has, too, and `rendering` makes HTML of it. `assets` serves what
browsers may keep: the style sheet and the scripts.
"""

from pacifica.notifications.ui.pages import Pages

__all__ = ["Pages"]
