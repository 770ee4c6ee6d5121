"""Reads the configuration; the INI file overrides environment variables."""

import os
from configparser import ConfigParser
from configparser import Error as ParserError
from dataclasses import replace
from pathlib import Path
from typing import Any

from pacifica.notifications import globals as locations
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.settings import KEYS, POLICY_TURNS, SECTIONS, Key, Settings, keys_of


def get_config() -> ConfigParser:
    """Return the configuration as text, with every default set.

    Raises ConfigError if the file exists but cannot be read or parsed. `%` has no special meaning.
    """
    config = ConfigParser(interpolation=None)
    for key in KEYS:
        if key.section != config.default_section and not config.has_section(key.section):
            config.add_section(key.section)
        config.set(key.section, key.name, os.environ.get(key.environment, key.default))
    config.read_dict(_from_file(locations.CONFIG_FILE))
    return config


def load_settings() -> Settings:
    """Return the configuration as validated values.

    Raises ConfigError; its message is one line with the source, section, key, value and rule.
    """
    config = get_config()
    defaults = Settings()
    sections = {
        section: replace(
            getattr(defaults, section),
            **{name: _value(config, key) for name, key in keys_of(section).items()},
        )
        for section in SECTIONS
    }
    settings = Settings(**sections)
    _require_lease(settings)
    return settings


def _value(config: ConfigParser, key: Key) -> Any:
    text = config.get(key.section, key.name)
    try:
        return key.kind.read(text)
    except ValueError as error:
        shown = key.kind.show(text)
        raise ConfigError(
            f"{_source(key)}: [{key.section}] {key.name} = {shown!r}: must be {key.kind.accepts}"
        ) from (error if shown == text else None)  # the cause would repeat the secret


def _require_lease(settings: Settings) -> None:
    """Refuse a lease that may end before its work, which would then be repeated."""
    policy, delivery = settings.policy, settings.delivery
    work = max(POLICY_TURNS * policy.timeout, delivery.connect_timeout + delivery.timeout)
    if settings.celery.lease <= work:
        raise ConfigError(
            f"{_source(keys_of('celery')['lease'])}: [celery] lease = "
            f"'{settings.celery.lease:g}': must be more than {work:g}, the time-outs of [policy] "
            "(twice) and of [delivery] (together)"
        )


def _from_file(path: str) -> ConfigParser:
    """Return the values in the file only; none if the file is absent."""
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8-sig"), source=path)
    except FileNotFoundError:
        pass
    except ParserError as error:
        raise ConfigError(f"{path}: line {_line(error)} is not INI syntax") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    return parser


def _line(error: ParserError) -> object:
    """Return the number of an invalid line, whose text may hold a password."""
    number = getattr(error, "lineno", None)
    return number or next((line for line, _ in getattr(error, "errors", ())), "?")


def _source(key: Key) -> str:
    """Return the name of a value's source: the file, or the environment variable."""
    if _from_file(locations.CONFIG_FILE).has_option(key.section, key.name):
        return locations.CONFIG_FILE
    return f"environment variable {key.environment}"
