-- Whole relations for a query engine, read inside one transaction. {scan_columns} are the columns of
-- `lakebed.catalog.scanning.ENTRY_SCHEMA`, {value} is the inline value or nothing of it, and
-- {formats} a condition on the format, {keys} one on the key unless all are wanted.

-- name: scan_entries
-- for: sql: entries as they are now
SELECT {scan_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE (e."expires_at" IS NULL OR e."expires_at" > :now) {keys} {formats} {narrowing}

-- name: scan_entries_at
-- for: sql: entries as of a moment that this transaction knows to be readable
SELECT {scan_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" <= :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {keys} {formats} {narrowing}
UNION ALL
SELECT {scan_columns}
FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" <= :version AND e."end_version" > :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {keys} {formats}

-- name: scan_history
-- for: sql: all versions that are kept, those that stand included
SELECT {scan_columns}, NULL AS "end_version", NULL AS "ended_at"
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE 1 = 1 {keys}
UNION ALL
SELECT {scan_columns}, e."end_version", e."ended_at"
FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
WHERE 1 = 1 {keys}

-- name: scan_objects
-- for: sql: contents and where they lie
SELECT o."content_hash", o."format", o."byte_size", o."uri", o."pack_id", o."position",
       o."created_at"
FROM {object} o

-- name: scan_packs
-- for: sql: where packed contents lie, and how many a pack holds
SELECT "id", "uri", "live" + "dead" FROM {pack}
