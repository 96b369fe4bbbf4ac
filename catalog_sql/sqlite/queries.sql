-- What SQLite says its own way.

-- name: json_array
-- for: the values of an IN list as one parameter, where they are texts or numbers
SELECT "value" FROM json_each(:array)

-- name: table_names
-- for: telling a new database, a lake, and somebody else's database apart; those that Litestream makes
-- in a file before or after us say nothing about that
SELECT "name" FROM sqlite_master WHERE "type" = 'table' AND "name" NOT LIKE '\_litestream\_%' ESCAPE '\'

-- name: lock_entries
-- for: what lock_entry tells, of many keys, each row led by its key: in one request to a server
SELECT one."value",
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'version'),
       (SELECT max("version") FROM {snapshot}),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'metadata_indexed'),
       {entry_columns}, e."object_id"
FROM json_each(:keys) one LEFT JOIN {entry} e ON e."key" = one."value"
LEFT JOIN {object} o ON o."id" = e."object_id"

-- name: create_staged
-- for: what a batch is about to store, in key order, for the time of its commit; a row without a
-- content hash and object is a delete
CREATE TEMP TABLE IF NOT EXISTS staged (
    "number" INTEGER PRIMARY KEY,
    "key" TEXT NOT NULL,
    "content_hash" BLOB,
    "format" TEXT,
    "byte_size" INTEGER,
    "inline_value" BLOB,
    "uri" TEXT,
    "pack_id" INTEGER,
    "position" TEXT,
    "metadata" TEXT,
    "expires_at" INTEGER,
    "created_at" INTEGER,
    "updated_at" INTEGER,
    "object_id" INTEGER,
    "old_version" INTEGER,
    "old_object" INTEGER
);

-- name: scan_order
-- for: scans in key order, which SQLite gives by the index of the keys, without sorting
ORDER BY e."key"

-- name: batch_objects
-- for: naming the new contents of a batch, in the order of the keys that they are for: there is one
-- writer, and who reads in the order of keys then reads contents in the order in which they lie
INSERT INTO {object} ("content_hash", "format", "byte_size", "inline_value", "uri", "pack_id",
                      "position", "created_at")
SELECT "content_hash", "format", "byte_size", "inline_value", "uri", "pack_id", "position", :now
FROM {staged}
WHERE "inline_value" IS NOT NULL OR "uri" IS NOT NULL OR "pack_id" IS NOT NULL
ORDER BY "number"
ON CONFLICT ("content_hash", "format") DO NOTHING

-- name: has_keys
-- for: whether a batch seems to be new: some of its keys
SELECT 1 FROM {entry} WHERE "key" IN ({keys}) LIMIT 1

-- name: last_object
-- for: numbering the contents of a batch that seems to be new
SELECT coalesce(max("id"), 0) FROM {object}

-- name: direct_objects
-- for: its contents, in the order of its keys
INSERT INTO {object} ("id", "content_hash", "format", "byte_size", "inline_value", "created_at")
VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: newer_objects
-- for: which of them were new
SELECT "content_hash", "format", "id" FROM {object} WHERE "id" > :id

-- name: find_ids
-- for: the objects of the others
SELECT "content_hash", "format", "id" FROM {object} WHERE "content_hash" IN ({hashes})

-- name: direct_entries
-- for: its entries; a key that is there after all is passed over
INSERT INTO {entry} ("key", "version", "object_id", "metadata", "expires_at", "created_at", "updated_at")
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: newer
-- for: which of them were not passed over
SELECT "version" FROM {entry} WHERE "version" > :version

-- name: batch_lost
-- for: the objects of replaced rows that are not kept
UPDATE {staged} SET "old_object" = (
    SELECT e."object_id" FROM {entry} e
    WHERE e."version" = {staged}."old_version" AND e."version" > :newest_snapshot
      AND e."object_id" IS NOT {staged}."object_id")
WHERE "old_version" IS NOT NULL

-- name: batch_candidates
-- for: noting those of them whose bytes lie in the storage, and tables of parts
INSERT INTO {candidate} ("object_id")
SELECT DISTINCT o."id" FROM {staged} s JOIN {object} o ON o."id" = s."old_object"
WHERE o."inline_value" IS NULL OR o."format" = 'table'
ON CONFLICT ("object_id") DO NOTHING

-- name: batch_every_candidate
-- for: noting all of them, where nothing is removed before a collection: in place of batch_candidates
INSERT INTO {candidate} ("object_id")
SELECT DISTINCT "old_object" FROM {staged} WHERE "old_object" IS NOT NULL
ON CONFLICT ("object_id") DO NOTHING

-- name: batch_drop_objects
-- for: removing the others, if they have lost their last name
DELETE FROM {object} WHERE "inline_value" IS NOT NULL AND "format" <> 'table'
  AND "id" IN (SELECT "old_object" FROM {staged} WHERE "old_object" IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = {object}."id")
  AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = {object}."id")
  AND NOT EXISTS (SELECT 1 FROM {part} p WHERE p."part_id" = {object}."id")

-- name: list_entries_at
-- for: one page of a listing as of a moment, in key order: SQLite reads the halves side by side, and
-- no more of them than the page takes
SELECT {entry_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
UNION ALL
SELECT {entry_columns}
FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version AND e."end_version" > :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
ORDER BY 1 LIMIT :page

-- name: entry_versions
-- for: history(key): the versions below :before that are kept, newest first, no more read than wanted
SELECT {entry_columns}, NULL AS "end_version", NULL AS "ended_at"
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" = :key AND e."version" < :before
UNION ALL
SELECT {entry_columns}, e."end_version", e."ended_at"
FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" = :key AND e."version" < :before
ORDER BY 2 DESC LIMIT :page

-- name: list_keys_at
-- for: iterating a lake as of a moment
SELECT e."key" FROM {entry} e
WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
UNION ALL
SELECT e."key" FROM {entry_history} e
WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version AND e."end_version" > :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
ORDER BY 1 LIMIT :page

-- name: list_metadata_at
-- for: list_metadata as of a moment, of what is visible then
SELECT e."key", e."metadata", 1
FROM {entry} e
WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now)
UNION ALL
SELECT e."key", e."metadata", 1
FROM {entry_history} e
WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version AND e."end_version" > :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now)
ORDER BY 1 LIMIT :page

-- name: list_unmarked
-- for: list_metadata between such ends, without what has a text that tells that the filter does not hold
SELECT e."key", e."metadata", CASE WHEN e."expires_at" <= :now THEN 0 ELSE 1 END
FROM {entry} e WHERE e."key" >= :low AND e."key" < :high
  AND NOT (({marked}) AND instr(substr(e."metadata", 2), :brace) = 0
           AND instr(e."metadata", :backslash) = 0)
ORDER BY e."key"

-- name: has_mark
-- for: one such text
instr(e."metadata", :mark{n}) > 0

-- name: bare_entries
-- for: the versions without metadata, which have no term in the metadata index, up to :cap
SELECT * FROM (SELECT b."version" FROM {entry} b WHERE b."metadata" = '{}' LIMIT :cap) bare
