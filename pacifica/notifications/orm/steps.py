"""The steps from one version of the schema to the next, as they were when they were released.

They do not use the models, which describe the newest version only. Each may start on the half-done
work of one that was killed.
"""

from pacifica.notifications.orm.tables import Tables

_LONG_AGO = "1970-01-01 00:00:00"


def add_subscriptions(tables: Tables) -> None:
    """Step from 0.0, a database that may have its subscriptions already, to 1.0."""
    tables.create(
        "eventmatch",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        name="VARCHAR(255) NOT NULL",
        jsonpath="{text} NOT NULL",
        user="VARCHAR(255) NOT NULL",
        disabled="{moment}",
        error="{text}",
        target_url="{text} NOT NULL",
        version="VARCHAR(255) NOT NULL",
        extensions="{text} NOT NULL",
        created="{moment} NOT NULL",
        updated="{moment} NOT NULL",
        deleted="{moment}",
    )
    tables.add_indexes("eventmatch", "name", "user", "disabled", "created", "updated", "deleted")
    tables.create(
        "notificationsystem",
        part="VARCHAR(255) NOT NULL PRIMARY KEY",
        value="INTEGER NOT NULL",
    )


def add_authentication(tables: Tables) -> None:
    """Step from 1.0 to 2.0: what a subscription authenticates itself with to its target."""
    tables.add_columns("eventmatch", auth="{text}")


def add_event_log(tables: Tables) -> None:
    """Step from 2.0 to 3.0: events, and their matches with what was answered."""
    if not tables.exists("eventlogmatch"):
        # A foreign key needs the same kind of text on both of its sides.
        tables.widen("eventmatch")
        tables.widen("eventlog")
    tables.create(
        "eventlog",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        jsondata="{text} NOT NULL",
        created="{moment} NOT NULL",
    )
    tables.add_indexes("eventlog", "created")
    tables.create(
        "eventlogmatch",
        "FOREIGN KEY (event_log_id) REFERENCES eventlog (uuid)",
        "FOREIGN KEY (event_match_id) REFERENCES eventmatch (uuid)",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        event_log_id="{uuid} NOT NULL",
        event_match_id="{uuid} NOT NULL",
        policy_status_code="{text} NOT NULL",
        policy_resp_body="{text} NOT NULL",
        target_status_code="{text} NOT NULL",
        target_resp_body="{text} NOT NULL",
        created="{moment} NOT NULL",
    )
    tables.add_indexes("eventlogmatch", "event_log_id", "event_match_id", "created")


def add_work_to_do(tables: Tables) -> None:
    """Step from 3.0 to 4.0: what is due and when, and what workers agree on."""
    _widen(tables)
    _add_revisions(tables)
    tables.add_columns(
        "eventlog",
        due="{moment}",  # null: old events count as dispatched
        attempts="INTEGER NOT NULL DEFAULT 0",
        hops="INTEGER NOT NULL DEFAULT 0",
        specversion="VARCHAR(8) NOT NULL DEFAULT ''",  # those of 0.5.2 had no other than 0.1
    )
    tables.drop_defaults("eventlog", "attempts", "hops", "specversion")
    tables.add_indexes("eventlog", "due")
    _add_states(tables)
    tables.create(
        "notificationcounter",
        name="VARCHAR(64) NOT NULL PRIMARY KEY",
        value="{counter} NOT NULL",
    )
    tables.execute(
        "INSERT INTO notificationcounter (name, value) "
        "SELECT 'subscriptions', 0 FROM (SELECT 1 AS one) AS once "
        "WHERE NOT EXISTS (SELECT 1 FROM notificationcounter WHERE name = 'subscriptions')"
    )
    tables.create(
        "notificationlease",
        name="VARCHAR(64) NOT NULL PRIMARY KEY",
        expires="{moment} NOT NULL",
    )
    tables.create(
        "notificationidentity",
        digest="VARCHAR(64) NOT NULL PRIMARY KEY",
        event="{uuid} NOT NULL",
        created="{moment} NOT NULL",
    )
    tables.add_indexes("notificationidentity", "created")


def _widen(tables: Tables) -> None:
    """On MySQL, give old tables room for long text, microseconds and every character."""
    if tables.engine != "mysql":
        return
    converted = ("eventmatch", "eventlog", "eventlogmatch", "notificationsystem")
    if any(tables.is_narrow(table) for table in converted):
        tables.drop_foreign_keys("eventlogmatch")
        for table in converted:
            tables.widen(table)
    tables.add_foreign_key("eventlogmatch", "event_log_id", "eventlog", "eventlogmatch_ibfk_1")
    tables.add_foreign_key("eventlogmatch", "event_match_id", "eventmatch", "eventlogmatch_ibfk_2")


def _add_revisions(tables: Tables) -> None:
    """Give subscriptions a revision; for those that an error disabled, matches are now held."""
    tables.add_columns(
        "eventmatch",
        holding="{flag} NOT NULL DEFAULT FALSE",
        revision="{counter} NOT NULL DEFAULT 0",
        held_due="{moment}",
        probe="{uuid}",
        probes="INTEGER NOT NULL DEFAULT 0",
        specversion="VARCHAR(8) NOT NULL DEFAULT ''",
        mode="VARCHAR(16) NOT NULL DEFAULT 'structured'",
    )
    tables.execute("UPDATE eventmatch SET auth = '{}' WHERE auth IS NULL")
    tables.execute(
        "UPDATE eventmatch SET holding = TRUE "
        "WHERE disabled IS NOT NULL AND error IS NOT NULL AND deleted IS NULL"
    )
    tables.drop_defaults("eventmatch", "holding", "revision", "probes", "specversion", "mode")
    tables.add_indexes("eventmatch", "revision", "held_due")
    tables.add_index("eventmatch", "user", "deleted")


def _add_states(tables: Tables) -> None:
    """Give old matches the state that was recorded; none is sent again by itself."""
    tables.add_columns(
        "eventlogmatch",
        state="VARCHAR(16) NOT NULL DEFAULT 'failed'",
        due="{moment}",
        leased="{moment}",
        attempts="INTEGER NOT NULL DEFAULT 0",
        failing="{moment}",
        updated=f"{{moment}} NOT NULL DEFAULT '{_LONG_AGO}'",
    )
    tables.execute(
        """
        UPDATE eventlogmatch SET updated = created, state = CASE
            WHEN target_status_code LIKE '2__' THEN 'delivered'
            WHEN policy_status_code <> '' AND policy_status_code NOT LIKE '2__' THEN 'denied'
            ELSE 'failed' END
        """
    )
    tables.drop_defaults("eventlogmatch", "state", "attempts", "updated")
    tables.add_indexes("eventlogmatch", "due")
    tables.add_index("eventlogmatch", "state", "event_match_id", "created")
