-- What the portable queries lack for a database of which nothing is known but that it speaks SQL as
-- Postgres and SQLite do: ON CONFLICT, RETURNING, LIMIT, sequences and temporary tables.

-- name: table_names
-- for: telling a lake from a new database; tables of others may stand beside those of a lake
SELECT table_name FROM information_schema.tables
WHERE table_schema = current_schema() AND table_name LIKE 'lakebed!_%' ESCAPE '!'

-- name: lock_writers
-- for: a writer's first statement: the counter's row, held to the commit, makes versions visible in
-- their order
UPDATE {lakebed_meta} SET "value" = "value" WHERE "name" = 'version'

-- name: compares_by_bytes
-- for: on connecting: keys must
SELECT CASE WHEN 'B' < 'a' AND 'z' < 'é' AND 'a' < 'a ' AND 'é' < '😀' THEN 1 ELSE 0 END

-- name: note_commit
-- for: a transaction's last statement before COMMIT: it tells whether the commit happened
INSERT INTO {writer} ("id", "token", "seen") VALUES (:id, :token, :now)
ON CONFLICT ("id") DO UPDATE SET "token" = excluded."token", "seen" = excluded."seen"

-- name: last_commit
-- for: the last commit that a connection noted
SELECT "token" FROM {writer} WHERE "id" = :id

-- name: drop_writers
-- for: forgetting connections that are long gone
DELETE FROM {writer} WHERE "seen" < :now - 7 * 86400000000

-- name: create_staged
-- for: what a batch is about to store, in key order, for the time of its commit; a row without a
-- content hash and object is a delete
CREATE TEMPORARY TABLE IF NOT EXISTS {staged} (
    "number" BIGINT NOT NULL,
    "key" VARCHAR NOT NULL,
    "content_hash" BYTEA,
    "format" VARCHAR,
    "byte_size" BIGINT,
    "inline_value" BYTEA,
    "uri" VARCHAR,
    "pack_id" BIGINT,
    "position" VARCHAR,
    "metadata" VARCHAR,
    "expires_at" BIGINT,
    "created_at" BIGINT,
    "updated_at" BIGINT,
    "object_id" BIGINT,
    "old_version" BIGINT
);
