-- Whole relations for a query engine, read inside one transaction. {scan_columns} are those of the
-- columns of `lakebed.catalog.scan.ENTRY_COLUMNS` that are wanted, and {keys} is a condition on the key
-- unless all are wanted, or one on the version.

-- name: scan_entries
-- for: sql: entries as they are now
SELECT {scan_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE (e."expires_at" IS NULL OR e."expires_at" > :now) {keys} {narrowing} {order}

-- name: scan_names
-- for: sql: the same, where nothing of their contents is wanted
SELECT {scan_columns}
FROM {entry} e
WHERE (e."expires_at" IS NULL OR e."expires_at" > :now) {keys} {narrowing} {order}

-- name: scan_page
-- for: sql: the first of these entries in key order, those of a format if one is named
SELECT {scan_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE (e."expires_at" IS NULL OR e."expires_at" > :now) {keys}
  {format}
ORDER BY e."key" LIMIT :page

-- name: scan_versions
-- for: sql: which of the entries that a session has loaded still stand
SELECT "version" FROM {entry}
WHERE "version" >= :first AND "version" <= :last
    AND ("expires_at" IS NULL OR "expires_at" > :now)

-- name: count_versions
-- for: sql: whether some of the entries that a session has loaded stand no more
SELECT count(*) FROM {entry}
WHERE "version" >= :first AND "version" <= :last
    AND ("expires_at" IS NULL OR "expires_at" > :now)

-- name: count_standing
-- for: sql: whether all entries that a session has loaded still stand. Where versions are committed in
-- their order none joins them later, so that the number tells. (The first count is one that databases
-- have at hand, or find in their smallest index.)
SELECT (SELECT count(*) FROM {entry})
    - (SELECT count(*) FROM {entry} WHERE "version" > :last)
    - (SELECT count(*) FROM {entry} WHERE "version" <= :last AND "expires_at" <= :now)

-- name: count_all_at
-- for: sql: the same as of a moment that this transaction knows to be readable: those of now, and what
-- has changed since
SELECT (SELECT count(*) FROM {entry})
    - (SELECT count(*) FROM {entry} WHERE "version" > :version)
    - (SELECT count(*) FROM {entry} WHERE "expires_at" <= :now AND {unindexed}"version" <= :version)
    + (SELECT count(*) FROM {entry_history} WHERE "end_version" > :version
         AND {unindexed}"version" <= :version
         AND ({unindexed}"expires_at" IS NULL OR {unindexed}"expires_at" > :now))

-- name: entry_of_version
-- for: sql: whether a version that a session has loaded still stands for the same entry
SELECT "key", "updated_at" FROM {entry} WHERE "version" = :version

-- name: scan_entries_at
-- for: sql: entries as of a moment that this transaction knows to be readable
SELECT {scan_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" <= :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {keys} {narrowing}
UNION ALL
SELECT {scan_columns}
FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" <= :version AND e."end_version" > :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {keys}

-- name: scan_names_at
-- for: sql: the same, where nothing of their contents is wanted
SELECT {scan_columns}
FROM {entry} e
WHERE e."version" <= :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {keys} {narrowing}
UNION ALL
SELECT {scan_columns}
FROM {entry_history} e
WHERE e."version" <= :version AND e."end_version" > :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {keys}

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
