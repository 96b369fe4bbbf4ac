-- What SQLite says its own way.

-- name: json_array
-- for: the values of an IN list as one parameter, where they are texts or numbers
SELECT "value" FROM json_each(:array)

-- name: table_names
-- for: telling a new database, a lake, and somebody else's database apart
SELECT "name" FROM sqlite_master WHERE "type" = 'table'

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
    "object_id" INTEGER,
    "old_version" INTEGER
);

-- name: list_entries_at
-- for: one page of a listing as of a moment, in key order: SQLite reads the halves side by side, and
-- no more of them than the page takes
SELECT {entry_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned} {narrowing}
UNION ALL
SELECT {entry_columns}
FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version AND e."end_version" > :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
ORDER BY 1 LIMIT :page
