-- What MySQL and MariaDB say their own way. The executor writes names in backticks.

-- name: table_names
-- for: telling a lake from a new database; tables of others may stand beside those of a lake, but
-- not under its names. (An interrupted creation leaves some of ours, and is taken up again.)
SELECT CASE WHEN table_comment = 'Lakebed' THEN table_name
            ELSE concat(table_name, ', which is not Lakebed''s') END
FROM information_schema.tables
WHERE table_schema = database() AND left(table_name, 8) = 'lakebed_'
  AND (table_comment <> 'Lakebed' OR table_name = '{lakebed_meta}')

-- name: lock_writers
-- for: a writer's first statement: one row's lock, held to the commit, makes versions visible in
-- their order
SELECT 1 FROM {lakebed_meta} WHERE "name" = 'schema_version' FOR UPDATE

-- name: lock_schema
-- for: making or changing the tables: each such statement commits, which ends the lock of a row, but not
-- this one of the session
SELECT GET_LOCK(concat('lakebed.', left(sha2(database(), 256), 40)), {seconds})

-- name: unlock_schema
-- for: releasing it
SELECT RELEASE_LOCK(concat('lakebed.', left(sha2(database(), 256), 40)))

-- name: note_commit
-- for: a transaction's last statement before COMMIT: it tells whether the commit happened
INSERT INTO {writer} ("id", "token", "seen") VALUES (:id, :token, :now)
ON DUPLICATE KEY UPDATE "token" = VALUES("token"), "seen" = VALUES("seen")

-- name: last_commit
-- for: the last commit that a connection noted
SELECT "token" FROM {writer} WHERE "id" = :id

-- name: drop_writers
-- for: forgetting connections that are long gone
DELETE FROM {writer} WHERE "seen" < :now - 7 * 86400000000

-- name: insert_meta
-- for: adding a setting
INSERT INTO {lakebed_meta} ("name", "value") VALUES (:name, :value)
ON DUPLICATE KEY UPDATE "value" = VALUES("value")

-- name: insert_object
-- for: naming new content; no other writer is at work
INSERT INTO {object} ("content_hash", "format", "byte_size", "inline_value", "uri", "pack_id",
                      "position", "created_at")
SELECT :content_hash, :format, :byte_size, :inline_value, :uri, :pack_id, :position, :now FROM DUAL
WHERE NOT EXISTS (SELECT 1 FROM {object}
                  WHERE "content_hash" = :content_hash AND "format" = :format)

-- name: put_entry
-- for: creating or replacing an entry
INSERT INTO {entry} ("key", "version", "object_id", "metadata", "expires_at", "created_at",
                     "updated_at")
VALUES (:key, :version, :object_id, :metadata, :expires_at, :created_at, :now)
ON DUPLICATE KEY UPDATE
    "version" = VALUES("version"), "object_id" = VALUES("object_id"),
    "metadata" = VALUES("metadata"), "expires_at" = VALUES("expires_at"),
    "created_at" = VALUES("created_at"), "updated_at" = VALUES("updated_at")

-- name: insert_snapshot
-- for: create_snapshot; no other writer is at work
INSERT INTO {snapshot} ("id", "name", "version", "message", "author", "created_at")
SELECT :id, :name, :version, :message, :author, :now FROM DUAL
WHERE NOT EXISTS (SELECT 1 FROM {snapshot} WHERE "name" = :name)

-- name: is_pinned
-- for: telling an empty answer from a moment that is gone
SELECT 1 FROM DUAL WHERE {pinned}

-- name: create_staged
-- for: what a batch is about to store, in key order, for the time of its commit; a row without a
-- content hash and object is a delete
CREATE TEMPORARY TABLE IF NOT EXISTS {staged} (
    "number" BIGINT NOT NULL PRIMARY KEY,
    "key" VARBINARY(1024) NOT NULL,
    "content_hash" BINARY(32),
    "format" VARCHAR(64),
    "byte_size" BIGINT,
    "inline_value" LONGBLOB,
    "uri" VARCHAR(700),
    "pack_id" BIGINT,
    "position" VARCHAR(255),
    "metadata" LONGTEXT,
    "expires_at" BIGINT,
    "created_at" BIGINT,
    "updated_at" BIGINT,
    "object_id" BIGINT,
    "old_version" BIGINT,
    "old_object" BIGINT,
    KEY ("old_version")
) {table_options};

-- name: batch_objects
-- for: naming the new contents of a batch; those that are there already, or twice in it, are skipped
INSERT IGNORE INTO {object} ("content_hash", "format", "byte_size", "inline_value", "uri",
                             "pack_id", "position", "created_at")
SELECT "content_hash", "format", "byte_size", "inline_value", "uri", "pack_id", "position", :now
FROM {staged}
WHERE "inline_value" IS NOT NULL OR "uri" IS NOT NULL OR "pack_id" IS NOT NULL
ORDER BY "content_hash"

-- name: batch_lost
-- for: the objects of replaced rows that are not kept
UPDATE {staged} SET "old_object" = (
    SELECT e."object_id" FROM {entry} e
    WHERE e."version" = {staged}."old_version" AND e."version" > :newest_snapshot
      AND NOT e."object_id" <=> {staged}."object_id")
WHERE "old_version" IS NOT NULL

-- name: batch_candidates
-- for: noting those of them whose bytes lie in the storage, and tables of parts
INSERT INTO {candidate} ("object_id")
SELECT DISTINCT o."id" FROM {staged} s JOIN {object} o ON o."id" = s."old_object"
WHERE o."inline_value" IS NULL OR o."format" = 'table'
ON DUPLICATE KEY UPDATE "object_id" = VALUES("object_id")

-- name: batch_every_candidate
-- for: noting all of them, where nothing is removed before a collection: in place of batch_candidates
INSERT INTO {candidate} ("object_id")
SELECT DISTINCT "old_object" FROM {staged} WHERE "old_object" IS NOT NULL
ON DUPLICATE KEY UPDATE "object_id" = VALUES("object_id")

-- name: batch_drop_objects
-- for: removing the others, if they have lost their last name
DELETE o FROM {staged} s JOIN {object} o ON o."id" = s."old_object"
WHERE o."inline_value" IS NOT NULL AND o."format" <> 'table'
  AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = o."id")
  AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = o."id")
  AND NOT EXISTS (SELECT 1 FROM {part} p WHERE p."part_id" = o."id")

-- name: drop_metadata_terms
-- for: dropping what the index holds of versions that have ended; {terms} are such rows
DELETE m FROM {entry_metadata} m JOIN ({terms}) t
ON m."path" = t."path" AND m."value" = t."value" AND m."version" = t."version"
WHERE NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."version" = m."version")

-- name: metadata_term
-- for: one of them; the columns are no text
SELECT unhex(:path{n}) AS "path", unhex(:value{n}) AS "value", CAST(:version{n} AS SIGNED) AS "version"
