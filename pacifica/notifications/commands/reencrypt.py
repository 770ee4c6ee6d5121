"""`reencrypt`: rewrites the auth of all subscriptions by the first key, or in plain."""

from argparse import ArgumentParser, Namespace

from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import ConfigError, NotificationsError
from pacifica.notifications.orm import OrmSync, check_safe, decrypt_all, encrypt_all


def add_options(parser: ArgumentParser) -> None:
    """Add the options of `reencrypt`."""
    parser.add_argument(
        "--plain", action="store_true", help="store it in plain, so that no key is needed any more"
    )


def reencrypt(args: Namespace) -> int:
    """Rewrite and say how many; 1 where some are left: changed meanwhile, or corrupt."""
    if not load_settings().security.key:
        raise ConfigError("[security] key is empty: there is no key to decrypt or encrypt with")
    OrmSync.dbconn_blocking()
    check_safe()
    done = decrypt_all() if args.plain else encrypt_all()
    print(f"{done.rows} subscriptions rewritten")  # noqa: T201
    left = [
        *([f"{done.missed} were changed meanwhile: run it again"] if done.missed else ()),
        *(f"the auth of {uuid} is corrupt and stays as it is" for uuid in done.corrupt),
    ]
    if left:
        raise NotificationsError("; ".join(left))
    return 0
