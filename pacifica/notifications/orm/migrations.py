"""The steps from each version of the schema to the next, in each engine's own SQL.

The steps do not use the models, which describe the newest version only. Each may continue the work
of one that was killed half-way.
"""

from pacifica.notifications.orm.tables import Tables

_LONG_AGO = "1970-01-01 00:00:00"


def add_subscriptions(tables: Tables) -> None:
    """Step from 0.0 to 1.0; a database at 0.0 may already have subscriptions."""
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
    """Step from 1.0 to 2.0: the credentials that a delivery sends to its target."""
    tables.add_columns("eventmatch", auth="{text}")


def add_event_log(tables: Tables) -> None:
    """Step from 2.0 to 3.0: the log of events, their matches and the responses."""
    if not tables.exists("eventlogmatch"):
        # A foreign key needs the same kind of text on both sides.
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
    """Step from 3.0 to 4.0: due times, and the tables that coordinate the workers."""
    _widen(tables)
    _add_revisions(tables)
    tables.add_columns(
        "eventlog",
        due="{moment}",  # null: old events count as dispatched
        attempts="INTEGER NOT NULL DEFAULT 0",
        hops="INTEGER NOT NULL DEFAULT 0",
        specversion="VARCHAR(8) NOT NULL DEFAULT ''",  # 0.5.2 had only events of version 0.1
        revision="{counter}",
        # Empty: what old events say is read from their JSON.
        event_type="VARCHAR(255) NOT NULL DEFAULT ''",
        event_source="VARCHAR(255) NOT NULL DEFAULT ''",
        event_id="VARCHAR(255) NOT NULL DEFAULT ''",
        event_time="VARCHAR(64) NOT NULL DEFAULT ''",
        transaction_id="{counter}",
        # Null, so that events that wait for nothing are stored without them.
        settlement="VARCHAR(16)",
        settle_due="{moment}",
        settled="{moment}",
        owner="VARCHAR(255)",
    )
    described = ("event_type", "event_source", "event_id", "event_time")
    tables.drop_defaults("eventlog", "attempts", "hops", "specversion", *described)
    tables.add_indexes("eventlog", "due", "event_id", "transaction_id", "settle_due")
    tables.add_index("eventlog", "event_type", "created")
    tables.add_index("eventlog", "event_source", "created")
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
        "notificationdeferred",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        event="{uuid} NOT NULL",
        user="VARCHAR(255) NOT NULL",
        subscriptions="{text} NOT NULL",
        due="{moment}",
        since="{moment} NOT NULL",
    )
    tables.add_indexes("notificationdeferred", "event", "due")
    tables.add_index("notificationdeferred", "user", "due", "since")
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
        copies="INTEGER NOT NULL",
        copied="{moment}",
    )
    tables.add_indexes("notificationidentity", "created")
    tables.create(
        "notificationstatistic",
        "PRIMARY KEY (name, slot)",
        name="VARCHAR(64) NOT NULL",
        slot="INTEGER NOT NULL",
        value="{counter} NOT NULL",
    )
    tables.create(
        "notificationworker",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        name="VARCHAR(255) NOT NULL",
        process="INTEGER NOT NULL",
        started="{moment} NOT NULL",
        renewed="{moment} NOT NULL",
    )
    _add_history(tables)
    _add_mail(tables)


def _add_mail(tables: Tables) -> None:
    """Add who agreed to get mails, when digests are due, and what owners are told."""
    tables.create(
        "notificationdigest",
        subscription="{uuid} NOT NULL PRIMARY KEY",
        due="{moment} NOT NULL",
    )
    tables.add_indexes("notificationdigest", "due")
    tables.create(
        "notificationagreement",
        digest="VARCHAR(64) NOT NULL PRIMARY KEY",
        uuid="{uuid} NOT NULL",
        user="VARCHAR(255) NOT NULL",
        address="VARCHAR(254) NOT NULL",
        standing="VARCHAR(16) NOT NULL",
        secret="VARCHAR(64) NOT NULL",  # noqa: S106 the type of a column
        token="VARCHAR(64) NOT NULL",  # noqa: S106
        expires="{moment}",
        due="{moment}",
        changed="{moment} NOT NULL",
    )
    tables.add_indexes("notificationagreement", "uuid", "token", "due")
    tables.create(
        "notificationmailcount",
        name="VARCHAR(64) NOT NULL PRIMARY KEY",
        began="{moment} NOT NULL",
        count="INTEGER NOT NULL",
    )
    tables.add_indexes("notificationmailcount", "began")
    tables.create(
        "notificationnotice",
        subscription="{uuid} NOT NULL PRIMARY KEY",
        kind="VARCHAR(16) NOT NULL",
        due="{moment}",
        said="VARCHAR(16) NOT NULL",
        told="{moment}",
        mail_due="{moment}",
        attempts="INTEGER NOT NULL",
    )
    tables.add_indexes("notificationnotice", "due", "mail_due")


def _add_history(tables: Tables) -> None:
    """Add attempts, what subscriptions were, who did what, and long jobs of users."""
    tables.create(
        "notificationattempt",
        "PRIMARY KEY (delivery, started)",
        delivery="{uuid} NOT NULL",
        started="{moment} NOT NULL",
        number="INTEGER NOT NULL",
        milliseconds="INTEGER NOT NULL",
        cause="VARCHAR(16) NOT NULL",
        url="{text} NOT NULL",
        address="VARCHAR(64) NOT NULL",
        request="{text} NOT NULL",
        status="INTEGER",
        response="{text} NOT NULL",
        body="{text} NOT NULL",
        truncated="{flag} NOT NULL",
        outcome="VARCHAR(16) NOT NULL",
        next_attempt="{moment}",
    )
    tables.add_indexes("notificationattempt", "started")
    tables.create(
        "notificationrevision",
        "PRIMARY KEY (subscription, revision)",
        subscription="{uuid} NOT NULL",
        revision="{counter} NOT NULL",
        changed="{moment} NOT NULL",
        actor="VARCHAR(255) NOT NULL",
        action="VARCHAR(16) NOT NULL",
        fields="VARCHAR(255) NOT NULL",
        name="VARCHAR(255) NOT NULL",
        jsonpath="{text} NOT NULL",
        target_url="{text} NOT NULL",
        extensions="{text} NOT NULL",
        specversion="VARCHAR(8) NOT NULL",
        mode="VARCHAR(16) NOT NULL",
        disabled="{moment}",
        error="{text}",
        holding="{flag} NOT NULL",
        unmatched="{flag} NOT NULL",
        deleted="{moment}",
    )
    tables.add_indexes("notificationrevision", "changed")
    tables.execute(
        "INSERT INTO notificationrevision (subscription, revision, changed, actor, action, fields,"
        " name, jsonpath, target_url, extensions, specversion, mode, disabled, error, holding,"
        " unmatched, deleted) "
        "SELECT uuid, revision, updated, '', 'migrated', '', name, jsonpath, target_url,"
        " extensions, specversion, mode, disabled, error, holding, unmatched, deleted "
        "FROM eventmatch "
        "WHERE NOT EXISTS (SELECT 1 FROM notificationrevision WHERE subscription = uuid)"
    )
    tables.create(
        "notificationaudit",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        moment="{moment} NOT NULL",
        actor="VARCHAR(255) NOT NULL",
        action="VARCHAR(32) NOT NULL",
        owner="VARCHAR(255) NOT NULL",
        subscription="{uuid}",
        details="{text} NOT NULL",
    )
    tables.add_indexes("notificationaudit", "moment")
    tables.create(
        "notificationjob",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        kind="VARCHAR(16) NOT NULL",
        user="VARCHAR(255) NOT NULL",
        subscription="{uuid}",
        state="VARCHAR(16) NOT NULL",
        created="{moment} NOT NULL",
        due="{moment}",
        turn="{moment} NOT NULL",
        attempts="INTEGER NOT NULL",
        finished="{moment}",
        idempotency="VARCHAR(64) NOT NULL",
        request="{text} NOT NULL",
        progress="{text} NOT NULL",
    )
    tables.add_indexes("notificationjob", "due", "created")
    tables.add_index("notificationjob", "user", "kind", "created")


def _widen(tables: Tables) -> None:
    """On MySQL, make old tables hold long text, microseconds and every character."""
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
    """Add revisions, and hold matches for subscriptions that an error disabled."""
    tables.add_columns(
        "eventmatch",
        holding="{flag} NOT NULL DEFAULT FALSE",
        unmatched="{flag} NOT NULL DEFAULT FALSE",
        revision="{counter} NOT NULL DEFAULT 0",
        held_due="{moment}",
        probe="{uuid}",
        probes="INTEGER NOT NULL DEFAULT 0",
        specversion="VARCHAR(8) NOT NULL DEFAULT ''",
        mode="VARCHAR(16) NOT NULL DEFAULT 'structured'",
        format="VARCHAR(16) NOT NULL DEFAULT 'event'",
        digest="VARCHAR(16) NOT NULL DEFAULT 'each'",
        tell_owner="{flag} NOT NULL DEFAULT TRUE",
    )
    tables.execute("UPDATE eventmatch SET auth = '{}' WHERE auth IS NULL")
    tables.execute(
        "UPDATE eventmatch SET holding = TRUE "
        "WHERE disabled IS NOT NULL AND error IS NOT NULL AND deleted IS NULL"
    )
    added = ("holding", "unmatched", "revision", "probes", "specversion", "mode")
    tables.drop_defaults("eventmatch", *added, "format", "digest", "tell_owner")
    tables.add_indexes("eventmatch", "revision", "held_due")
    tables.add_index("eventmatch", "user", "deleted", "created", "uuid")
    tables.add_index("eventmatch", "user", "deleted", "holding", "created", "uuid")


def _add_states(tables: Tables) -> None:
    """Give old matches a state by their recorded responses; none is sent again."""
    tables.add_columns(
        "eventlogmatch",
        state="VARCHAR(16) NOT NULL DEFAULT 'failed'",
        due="{moment}",
        leased="{moment}",
        attempts="INTEGER NOT NULL DEFAULT 0",
        failing="{moment}",
        updated=f"{{moment}} NOT NULL DEFAULT '{_LONG_AGO}'",
        tries="INTEGER NOT NULL DEFAULT 0",
        cause="VARCHAR(16) NOT NULL DEFAULT 'automatic'",
        fetch_id="{uuid}",
        fetched="{moment}",
    )
    tables.execute(
        """
        UPDATE eventlogmatch SET updated = created, state = CASE
            WHEN target_status_code LIKE '2__' THEN 'delivered'
            WHEN policy_status_code <> '' AND policy_status_code NOT LIKE '2__' THEN 'denied'
            ELSE 'failed' END
        """
    )
    tables.drop_defaults("eventlogmatch", "state", "attempts", "updated", "tries", "cause")
    tables.add_indexes("eventlogmatch", "due")
    tables.add_index("eventlogmatch", "state", "event_match_id", "created")
    # PostgreSQL would read all newer deliveries by it to find the newest of one subscription.
    tables.drop_index("eventlogmatch", "created")
