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
ALTER TABLE eventmatch
    ADD CONSTRAINT eventmatch_pkey PRIMARY KEY (uuid);
ALTER TABLE notificationsystem
    ADD CONSTRAINT notificationsystem_pkey PRIMARY KEY (part);
CREATE INDEX eventmatch_created ON eventmatch USING btree (created);
CREATE INDEX eventmatch_deleted ON eventmatch USING btree (deleted);
CREATE INDEX eventmatch_disabled ON eventmatch USING btree (disabled);
CREATE INDEX eventmatch_name ON eventmatch USING btree (name);
CREATE INDEX eventmatch_updated ON eventmatch USING btree (updated);
CREATE INDEX eventmatch_user ON eventmatch USING btree ("user");
INSERT INTO notificationsystem (part, value) VALUES ('major', 2), ('minor', 0);
