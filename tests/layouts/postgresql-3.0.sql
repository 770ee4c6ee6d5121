CREATE TABLE eventlog (
    uuid uuid NOT NULL,
    jsondata text NOT NULL,
    created timestamp without time zone NOT NULL
);
CREATE TABLE eventlogmatch (
    uuid uuid NOT NULL,
    event_log_id uuid NOT NULL,
    event_match_id uuid NOT NULL,
    policy_status_code text NOT NULL,
    policy_resp_body text NOT NULL,
    target_status_code text NOT NULL,
    target_resp_body text NOT NULL,
    created timestamp without time zone NOT NULL
);
CREATE TABLE eventmatch (
    uuid uuid NOT NULL,
    name character varying(255) NOT NULL,
    jsonpath text NOT NULL,
    "user" character varying(255) NOT NULL,
    disabled timestamp without time zone,
    error text,
    target_url text NOT NULL,
    version character varying(255) NOT NULL,
    extensions text NOT NULL,
    created timestamp without time zone NOT NULL,
    updated timestamp without time zone NOT NULL,
    deleted timestamp without time zone,
    auth text
);
CREATE TABLE notificationsystem (
    part character varying(255) NOT NULL,
    value integer NOT NULL
);
ALTER TABLE eventlog
    ADD CONSTRAINT eventlog_pkey PRIMARY KEY (uuid);
ALTER TABLE eventlogmatch
    ADD CONSTRAINT eventlogmatch_pkey PRIMARY KEY (uuid);
ALTER TABLE eventmatch
    ADD CONSTRAINT eventmatch_pkey PRIMARY KEY (uuid);
ALTER TABLE notificationsystem
    ADD CONSTRAINT notificationsystem_pkey PRIMARY KEY (part);
CREATE INDEX eventlog_created ON eventlog USING btree (created);
CREATE INDEX eventlogmatch_created ON eventlogmatch USING btree (created);
CREATE INDEX eventlogmatch_event_log_id ON eventlogmatch USING btree (event_log_id);
CREATE INDEX eventlogmatch_event_match_id ON eventlogmatch USING btree (event_match_id);
CREATE INDEX eventmatch_created ON eventmatch USING btree (created);
CREATE INDEX eventmatch_deleted ON eventmatch USING btree (deleted);
CREATE INDEX eventmatch_disabled ON eventmatch USING btree (disabled);
CREATE INDEX eventmatch_name ON eventmatch USING btree (name);
CREATE INDEX eventmatch_updated ON eventmatch USING btree (updated);
CREATE INDEX eventmatch_user ON eventmatch USING btree ("user");
ALTER TABLE eventlogmatch
    ADD CONSTRAINT eventlogmatch_event_log_id_fkey FOREIGN KEY (event_log_id) REFERENCES eventlog(uuid);
ALTER TABLE eventlogmatch
    ADD CONSTRAINT eventlogmatch_event_match_id_fkey FOREIGN KEY (event_match_id) REFERENCES eventmatch(uuid);
INSERT INTO notificationsystem (part, value) VALUES ('major', 3), ('minor', 0);
