CREATE TABLE "eventmatch" ("uuid" TEXT NOT NULL PRIMARY KEY, "name" VARCHAR(255) NOT NULL, "jsonpath" TEXT NOT NULL, "user" VARCHAR(255) NOT NULL, "disabled" DATETIME, "error" TEXT, "target_url" TEXT NOT NULL, "version" VARCHAR(255) NOT NULL, "extensions" TEXT NOT NULL, "created" DATETIME NOT NULL, "updated" DATETIME NOT NULL, "deleted" DATETIME);
CREATE INDEX "eventmatch_name" ON "eventmatch" ("name");
CREATE INDEX "eventmatch_user" ON "eventmatch" ("user");
CREATE INDEX "eventmatch_disabled" ON "eventmatch" ("disabled");
CREATE INDEX "eventmatch_created" ON "eventmatch" ("created");
CREATE INDEX "eventmatch_updated" ON "eventmatch" ("updated");
CREATE INDEX "eventmatch_deleted" ON "eventmatch" ("deleted");
CREATE TABLE "notificationsystem" ("part" VARCHAR(255) NOT NULL PRIMARY KEY, "value" INTEGER NOT NULL);
INSERT INTO notificationsystem (part, value) VALUES ('major', 1), ('minor', 0);
