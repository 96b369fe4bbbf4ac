-- The spool: a private temporary SQLite database in which a batch waits for its commit, so that any
-- number of entries passes through bounded memory.

-- name: begin
-- for: writing several rows at once
BEGIN

-- name: commit
-- for: the same
COMMIT

-- name: create_staged
-- for: the entries as they come
CREATE TABLE staged (
    "number" INTEGER PRIMARY KEY,
    "key" TEXT NOT NULL,
    "content_hash" BLOB NOT NULL,
    "format" TEXT NOT NULL,
    "byte_size" INTEGER NOT NULL,
    "inline_value" BLOB,
    "metadata" TEXT NOT NULL,
    "ttl" INTEGER,
    "expires_at" INTEGER,
    "created_at" INTEGER,
    "updated_at" INTEGER
)

-- name: index_staged
-- for: reading them in key order, once they are all there
CREATE INDEX IF NOT EXISTS staged_key ON staged ("key", "number")

-- name: create_placed
-- for: where the contents of these entries were uploaded
CREATE TABLE placed (
    "content_hash" BLOB NOT NULL,
    "format" TEXT NOT NULL,
    "uri" TEXT NOT NULL,
    "position" TEXT,
    PRIMARY KEY ("content_hash", "format")
) WITHOUT ROWID

-- name: create_kept
-- for: the bytes of contents that the lake holds already, should they be collected before the commit
CREATE TABLE kept (
    "number" INTEGER PRIMARY KEY,
    "content_hash" BLOB NOT NULL,
    "format" TEXT NOT NULL,
    "byte_size" INTEGER NOT NULL,
    "piece" BLOB NOT NULL
)

-- name: index_kept
-- for: finding the pieces of a content
CREATE INDEX kept_content ON kept ("content_hash", "format", "number")

-- name: create_seen
-- for: every key of the batch, chunks that are committed already included
CREATE TABLE seen ("key" TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID

-- name: add_seen
-- for: counting the keys of a chunk that was in memory
INSERT OR IGNORE INTO seen VALUES (?)

-- name: add_staged
-- for: staging entries
INSERT INTO staged VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: add_placed
-- for: noting an upload
INSERT OR IGNORE INTO placed VALUES (?, ?, ?, ?)

-- name: add_kept
-- for: keeping a piece of a content
INSERT INTO kept VALUES (NULL, ?, ?, ?, ?)

-- name: kept_contents
-- for: the contents that are kept
SELECT DISTINCT "content_hash", "format" FROM kept

-- name: kept_size
-- for: whether one of them fits into memory
SELECT "byte_size" FROM kept WHERE "content_hash" = ? AND "format" = ? LIMIT 1

-- name: kept_pieces
-- for: the bytes of one of them
SELECT "piece" FROM kept WHERE "content_hash" = ? AND "format" = ? ORDER BY "number"

-- name: clear_kept
-- for: the next chunk
DELETE FROM kept

-- name: see_staged
-- for: counting keys that come twice, in whichever chunks
INSERT OR IGNORE INTO seen SELECT "key" FROM staged

-- name: staged_rows
-- for: the commit, in key order, the last one of each key
SELECT s."key", s."content_hash", s."format", s."byte_size", s."inline_value", p."uri",
       p."position", s."metadata", s."ttl", s."expires_at", s."created_at", s."updated_at"
FROM (SELECT "key", max("number") AS "number" FROM staged GROUP BY "key") last
JOIN staged s ON s."number" = last."number"
LEFT JOIN placed p ON p."content_hash" = s."content_hash" AND p."format" = s."format"
ORDER BY last."key"

-- name: drop_staged
-- for: taking back all that is staged, because it could not be committed
DELETE FROM staged RETURNING "key"

-- name: drop_content
-- for: taking back the entries whose content could not be uploaded
DELETE FROM staged WHERE "content_hash" = ? AND "format" = ? RETURNING "key"

-- name: is_placed
-- for: uploading a content once in a batch
SELECT 1 FROM placed WHERE "content_hash" = ? AND "format" = ?

-- name: clear_staged
-- for: the next chunk of a batch that is not atomic
DELETE FROM staged

-- name: unindex_staged
-- for: the same: rows come faster without the index
DROP INDEX IF EXISTS staged_key

-- name: clear_placed
-- for: the next chunk: what is committed is known to the catalog, what is discarded must not be used
DELETE FROM placed

-- name: create_diff
-- for: the differences between two moments, while their Diff lives; {columns} are those of an entry
-- before and after
CREATE TABLE diff ("number" INTEGER PRIMARY KEY, "kind" TEXT NOT NULL, {columns})

-- name: index_diff
-- for: reading the differences of one kind in key order
CREATE INDEX diff_kind ON diff ("kind", "number")

-- name: add_diff
-- for: noting a difference
INSERT INTO diff VALUES (NULL, ?, {values})

-- name: count_diff
-- for: how many differences there are of each kind
SELECT "kind", count(*) FROM diff GROUP BY "kind"

-- name: diff_rows
-- for: reading differences of one kind, from one on
SELECT {columns} FROM diff WHERE "kind" = ? AND "number" >= ? ORDER BY "number"

-- name: diff_number
-- for: the number of the nth difference of a kind
SELECT "number" FROM diff WHERE "kind" = ? ORDER BY "number" LIMIT 1 OFFSET ?

-- name: diff_summary
-- for: the differences in numbers
SELECT coalesce(sum("kind" = 'changed' AND ("before_content_hash" <> "after_content_hash"
           OR "before_format" <> "after_format")), 0),
       coalesce(sum("before_byte_size"), 0), coalesce(sum("after_byte_size"), 0)
FROM diff
