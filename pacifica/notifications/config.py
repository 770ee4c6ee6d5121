"""Reads the configuration; the INI file overrides environment variables."""

import logging
import os
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ParserError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pacifica.notifications import globals as locations
from pacifica.notifications.errors import ConfigError
from pacifica.notifications.settings import KEYS, POLICY_TURNS, SECTIONS, Key, Settings, keys_of
from pacifica.notifications.spelling import nearest

_LOG = logging.getLogger(__name__)
# 0.5.2 allowed these keys in every section, and did not read them there.
_IGNORED = frozenset({"default_user"})


@dataclass(frozen=True)
class Configured:
    """The text of a key, and its source: a file, an environment variable or the default."""

    key: Key
    text: str
    source: str

    @property
    def shown(self) -> str:
        """The text without what may be secret."""
        return self.key.kind.show(self.text) if self.text else ""


def get_config() -> ConfigParser:
    """Return the configuration as text, with every default set.

    Raises ConfigError if the file exists but cannot be read or parsed. `%` has no special meaning.
    """
    config = ConfigParser(interpolation=None)
    file = _from_file(locations.CONFIG_FILE)
    for each in configured():
        if each.key.section != config.default_section and not config.has_section(each.key.section):
            config.add_section(each.key.section)
        config.set(each.key.section, each.key.name, each.text)
    config.read_dict({section: dict(file[section]) for section in file.sections()})
    return config


def configured() -> list[Configured]:
    """Return the text and the source of every key, unchecked.

    Raises ConfigError if the file exists but cannot be read or parsed.
    """
    file = _from_file(locations.CONFIG_FILE)
    return [_configured(key, file) for key in KEYS]


def is_service_file(path: str) -> bool:
    """Return whether a file is the service's and not CherryPy's: it has one of its sections."""
    try:
        sections = _from_file(path).sections()
    except ConfigError:  # whoever reads the file says why
        return False
    return any(key.section in sections for key in KEYS)


def load_settings() -> Settings:
    """Return the configuration as validated values.

    Raises ConfigError; its message is one line with the source, section, key, value and rule.
    """
    _require_known(_from_file(locations.CONFIG_FILE))
    texts = {(each.key.section, each.key.name): each for each in configured()}
    defaults = Settings()
    sections = {
        section: replace(
            getattr(defaults, section),
            **{
                name: _value(texts[key.section, key.name]) for name, key in keys_of(section).items()
            },
        )
        for section in SECTIONS
    }
    settings = Settings(**sections)
    _require_lease(settings, texts["celery", "lease"].source)
    _require_sender(settings, texts["mail", "smtp_url"].source)
    return settings


def _configured(key: Key, file: ConfigParser) -> Configured:
    if file.has_option(key.section, key.name):
        return Configured(key, file.get(key.section, key.name), locations.CONFIG_FILE)
    others = (name for name in key.other_variables if os.environ.get(name))
    for variable in (key.environment, *others):
        if variable in os.environ:
            return Configured(key, os.environ[variable], f"environment variable {variable}")
    return Configured(key, key.default, "default")


def _value(given: Configured) -> Any:
    kind, text = given.key.kind, given.text
    try:
        return kind.read(text)
    except ValueError as error:
        shown = kind.show(text)
        raise ConfigError(
            f"{given.source}: [{given.key.section}] {given.key.name} = {shown!r}: "
            f"must be {kind.accepts}"
        ) from (error if shown == text else None)  # the cause would repeat the secret


def _require_known(file: ConfigParser) -> None:
    """Refuse sections and keys that do not exist; a misspelt one would not take effect."""
    unknown = [*_unknown_sections(file), *_unknown_keys(file)]
    if unknown:
        raise ConfigError(f"{locations.CONFIG_FILE}: {'; '.join(unknown)}")


def _unknown_sections(file: ConfigParser) -> Iterator[str]:
    known = {key.section for key in KEYS}
    for section in file.sections():
        if section not in known:
            yield f"there is no section [{section}]{_meant(section, known)}"


def _unknown_keys(file: ConfigParser) -> Iterator[str]:
    for section in {key.section: None for key in KEYS if key.section in file}:
        known = {key.name for key in KEYS if key.section == section}
        for name in file[section]:
            if name in known:
                continue
            if name in _IGNORED:
                _LOG.warning(
                    "%s: [%s] %s has no effect, only that in [DEFAULT] has",
                    locations.CONFIG_FILE,
                    section,
                    name,
                )
                continue
            elsewhere = [key.section for key in KEYS if key.name == name]
            hint = f", but [{elsewhere[0]}] has it" if elsewhere else _meant(name, known)
            yield f"[{section}] has no key {name}{hint}"


def _meant(name: str, known: set[str]) -> str:
    found = nearest(name, known)
    return f": did you mean {found}?" if found else ""


def _require_lease(settings: Settings, source: str) -> None:
    """Refuse a lease that may end before its work, which would then be repeated."""
    policy, delivery = settings.policy, settings.delivery
    work = max(POLICY_TURNS * policy.timeout, delivery.connect_timeout + delivery.timeout)
    if settings.celery.lease <= work:
        raise ConfigError(
            f"{source}: [celery] lease = "
            f"'{settings.celery.lease:g}': must be more than {work:g}, the time-outs of [policy] "
            "(twice) and of [delivery] (together)"
        )


def _require_sender(settings: Settings, source: str) -> None:
    """Refuse a mail server without what each mail needs."""
    mail = settings.mail
    for name, value in (("from", mail.sender), ("base_url", mail.base_url)):
        if mail.is_on and not value:
            raise ConfigError(f"{source}: [mail] smtp_url: needs [mail] {name} as well")


def _from_file(path: str) -> ConfigParser:
    """Return the values in the file only; none if the file is absent.

    `[DEFAULT]` is a section like the others.
    """
    parser = ConfigParser(interpolation=None, default_section="")
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
