-- Named queries in the SQL that every catalog understands; a dialect's folder overrides the few
-- that differ there. {table} is the table's full name in the dialect, {entry_columns} the columns
-- of an entry joined with its object, :now the time in microseconds.

-- name: get_meta
-- for: reading the settings of the lake
SELECT "name", "value" FROM {lakebed_meta}

-- name: get_setting
-- for: reading one setting or counter
SELECT "value" FROM {lakebed_meta} WHERE "name" = :name

-- name: set_meta
-- for: changing a setting or a counter that exists
UPDATE {lakebed_meta} SET "value" = :value WHERE "name" = :name

-- name: insert_meta
-- for: adding a setting
INSERT INTO {lakebed_meta} ("name", "value") VALUES (:name, :value)

-- name: get_entry
-- for: retrieve, entry, and membership
SELECT {entry_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" = :key AND (e."expires_at" IS NULL OR e."expires_at" > :now)

-- name: get_entries
-- for: retrieve_batch
SELECT {entry_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" IN ({keys}) AND (e."expires_at" IS NULL OR e."expires_at" > :now)

-- name: list_entries
-- for: one page of a listing, in key order; :low and :high (not included) bound the keys
SELECT {entry_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" >= :low AND e."key" < :high
  AND (e."expires_at" IS NULL OR e."expires_at" > :now)
ORDER BY e."key" LIMIT :page

-- name: list_keys
-- for: iterating a lake: a page of keys, in order
SELECT e."key" FROM {entry} e
WHERE e."key" >= :low AND e."key" < :high
  AND (e."expires_at" IS NULL OR e."expires_at" > :now)
ORDER BY e."key" LIMIT :page

-- name: count_entries
-- for: the number of entries under a prefix; both parts need an index only
SELECT (SELECT count(*) FROM {entry} WHERE "key" >= :low AND "key" < :high)
     - (SELECT count(*) FROM {entry}
        WHERE "expires_at" <= :now AND {unindexed}"key" >= :low AND {unindexed}"key" < :high)

-- name: count_all
-- for: len, and sql: how many entries there are; databases have the first count at hand, or find it in
-- their smallest index
SELECT (SELECT count(*) FROM {entry}) - (SELECT count(*) FROM {entry} WHERE "expires_at" <= :now)

-- name: first_key
-- for: taking the first entry of a range
SELECT "key" FROM {entry}
WHERE "key" >= :low AND "key" < :high AND ("expires_at" IS NULL OR "expires_at" > :now)
ORDER BY "key" LIMIT 1

-- name: lock_entry
-- for: the state that a change starts from: counter, newest snapshot, how far the segments and the
-- metadata index reach, and the row of the key
SELECT (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'version'),
       (SELECT max("version") FROM {snapshot}),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'metadata_indexed'),
       {entry_columns}, e."object_id"
FROM (SELECT 1) one LEFT JOIN {entry} e ON e."key" = :key
LEFT JOIN {object} o ON o."id" = e."object_id"

-- name: find_object
-- for: deduplication inside a commit
SELECT o."id", o."inline_value",
       coalesce(o."uri", (SELECT p."uri" FROM {pack} p WHERE p."id" = o."pack_id")), o."position"
FROM {object} o WHERE o."content_hash" = :content_hash AND o."format" = :format

-- name: find_objects
-- for: which contents of these hashes the catalog holds
SELECT "content_hash", "format" FROM {object} WHERE "content_hash" IN ({hashes})

-- name: find_places
-- for: deduplication before an upload: where the contents of these hashes lie
SELECT o."content_hash", o."format",
       coalesce(o."uri", (SELECT p."uri" FROM {pack} p WHERE p."id" = o."pack_id")), o."position"
FROM {object} o WHERE o."content_hash" IN ({hashes})

-- name: insert_object
-- for: naming new content
INSERT INTO {object} ("content_hash", "format", "byte_size", "inline_value", "uri", "pack_id",
                      "position", "created_at")
VALUES (:content_hash, :format, :byte_size, :inline_value, :uri, :pack_id, :position, :now)
ON CONFLICT ("content_hash", "format") DO NOTHING

-- name: add_part
-- for: append: a part that a new table lists
INSERT INTO {part} ("object_id", "part_id")
SELECT o."id", p."id" FROM {object} o, {object} p
WHERE o."content_hash" = :content_hash AND o."format" = :format
  AND p."content_hash" = :part_hash AND p."format" = :part_format

-- name: count_parts
-- for: append: whether all of them were there
SELECT count(*) FROM {part} WHERE "object_id" = (
    SELECT o."id" FROM {object} o WHERE o."content_hash" = :content_hash AND o."format" = :format)

-- name: get_parts
-- for: reading a table that has grown: its parts, each once, and where they lie
SELECT o."content_hash", o."format", o."byte_size", o."inline_value",
       coalesce(o."uri", (SELECT k."uri" FROM {pack} k WHERE k."id" = o."pack_id")), o."position"
FROM {object} t JOIN {part} p ON p."object_id" = t."id" JOIN {object} o ON o."id" = p."part_id"
WHERE t."content_hash" = :content_hash AND t."format" = :format

-- name: create_entry
-- for: a key that lock_entry did not find
INSERT INTO {entry} ("key", "version", "object_id", "metadata", "expires_at", "created_at",
                     "updated_at")
VALUES (:key, :version, :object_id, :metadata, :expires_at, :created_at, :now)

-- name: put_entry
-- for: replacing an entry
UPDATE {entry} SET "version" = :version, "object_id" = :object_id, "metadata" = :metadata,
       "expires_at" = :expires_at, "created_at" = :created_at, "updated_at" = :now
WHERE "key" = :key

-- name: delete_entry
-- for: delete, and clean-up of expired entries
DELETE FROM {entry} WHERE "key" = :key

-- name: keep_history
-- for: keeping the row that a change replaces, because a snapshot still sees it
INSERT INTO {entry_history} ("key", "version", "end_version", "ended_at", "object_id", "metadata",
                             "expires_at", "created_at", "updated_at")
SELECT "key", "version", :end_version, :now, "object_id", "metadata", "expires_at", "created_at",
       "updated_at"
FROM {entry} WHERE "key" = :key

-- name: add_candidate
-- for: noting an object that lost a reference
INSERT INTO {candidate} ("object_id") VALUES (:object_id) ON CONFLICT ("object_id") DO NOTHING

-- name: drop_object
-- for: a store or delete: a content in the catalog that has lost its last name, at once. Else a lake that
-- is only overwritten would grow until its upkeep. Only where a writer is alone, so that nobody can take
-- it up: the dialects that have batch_drop_objects
DELETE FROM {object} WHERE "id" = :id AND "inline_value" IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM {entry} WHERE "object_id" = :id)
  AND NOT EXISTS (SELECT 1 FROM {entry_history} WHERE "object_id" = :id)
  AND NOT EXISTS (SELECT 1 FROM {part} WHERE "part_id" = :id)

-- name: expired_keys
-- for: the next entries to clean up, oldest expiry first
SELECT "key" FROM {entry} WHERE "expires_at" <= :now ORDER BY "expires_at" LIMIT :page

-- name: count_expired
-- for: what a clean-up has left
SELECT count(*) FROM {entry} WHERE "expires_at" <= :now

-- name: lease_upload
-- for: announcing an upload before its first byte
INSERT INTO {pending} ("uri", "lease") VALUES (:uri, :lease)

-- name: claim_upload
-- for: taking an upload into a commit; no row means that the lease was lost
DELETE FROM {pending} WHERE "uri" = :uri

-- name: add_pack
-- for: naming a new pack
INSERT INTO {pack} ("uri", "byte_size", "live", "dead") VALUES (:uri, :byte_size, :live, :dead)

-- name: set_pack_counts
-- for: how many of a new pack's objects found a name
UPDATE {pack} SET "live" = :live, "dead" = :dead WHERE "id" = :id

-- name: delete_pack
-- for: a pack none of whose objects was needed
DELETE FROM {pack} WHERE "id" = :id

-- name: add_trash
-- for: bytes that no row refers to
INSERT INTO {trash} ("uri", "since") VALUES (:uri, :now) ON CONFLICT ("uri") DO NOTHING

-- name: list_metadata
-- for: a filter that reads on in key order, no more of an entry than it judges; expired entries come too,
-- marked, so that :page bounds what is read
SELECT e."key", e."metadata", CASE WHEN e."expires_at" <= :now THEN 0 ELSE 1 END
FROM {entry} e WHERE e."key" >= :low AND e."key" < :high
ORDER BY e."key" LIMIT :page

-- name: key_behind
-- for: where :page entries end; an index tells
SELECT "key" FROM {entry} WHERE "key" >= :low AND "key" < :high ORDER BY "key" LIMIT 1 OFFSET :page

-- name: list_unmarked
-- for: list_metadata between such ends, without what has a text that tells that the filter does not hold;
-- it tells nothing beside an inner object or a backslash
SELECT e."key", e."metadata", CASE WHEN e."expires_at" <= :now THEN 0 ELSE 1 END
FROM {entry} e WHERE e."key" >= :low AND e."key" < :high
  AND NOT (({marked}) AND position(:brace IN substr(e."metadata", 2)) = 0
           AND position(:backslash IN e."metadata") = 0)
ORDER BY e."key"

-- name: has_mark
-- for: one such text
position(:mark{n} IN e."metadata") > 0

-- name: index_range
-- for: the versions that have a term in one range of the metadata index, up to :cap. Asked for an order,
-- even for the index's own, MariaDB would read and sort all of them
SELECT * FROM (
    SELECT m."version" FROM {entry_metadata} m
    WHERE m."path" = :path{n} AND m."value" BETWEEN :from{n} AND :to{n}
    LIMIT :cap
) r{n}

-- name: shapes
-- for: what the metadata index defines of the shapes that entries have
SELECT "value" FROM {entry_metadata} WHERE "path" = :path LIMIT :page

-- name: waiting_metadata
-- for: the versions that the metadata index does not hold yet, up to :cap
SELECT t."version" FROM {entry} t WHERE t."version" > (
    SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'metadata_indexed')
LIMIT :cap

-- name: count_waiting_metadata
-- for: whether the metadata index should catch up, counted up to :cap
SELECT count(*) FROM ({waiting}) u

-- name: count_candidates
-- for: what the metadata index would have a filter read; {ranges} are an alternative of it
SELECT (SELECT count(*) FROM ({ranges}) r), (SELECT count(*) FROM ({waiting}) u)

-- name: count_candidates_at
-- for: the same as of a moment: what has ended since may be of it as well
SELECT (SELECT count(*) FROM ({ranges}) r), (SELECT count(*) FROM ({waiting}) u),
    (SELECT count(*) FROM (
        SELECT 1 FROM {entry_history} WHERE "end_version" > :version LIMIT :cap) h)

-- name: indexed_metadata
-- for: reading them, all as of one statement: as many rows of one kind as :cap mean that some may be
-- missing; those without a key are gone or out of bounds
SELECT 0, e."key", e."metadata" FROM ({ranges}) r
LEFT JOIN {entry} e ON e."version" = r."version" AND e."key" >= :low AND e."key" < :high
    AND (e."expires_at" IS NULL OR e."expires_at" > :now)
UNION ALL
SELECT 1, e."key", e."metadata" FROM ({waiting}) u
LEFT JOIN {entry} e ON e."version" = u."version" AND e."key" >= :low AND e."key" < :high
    AND (e."expires_at" IS NULL OR e."expires_at" > :now)

-- name: indexed_metadata_at
-- for: the same as of a moment
SELECT 0, e."key", e."metadata" FROM ({ranges}) r
LEFT JOIN {entry} e ON e."version" = r."version" AND e."key" >= :low AND e."key" < :high
    AND e."version" <= :version AND (e."expires_at" IS NULL OR e."expires_at" > :now)
UNION ALL
SELECT 1, e."key", e."metadata" FROM ({waiting}) u
LEFT JOIN {entry} e ON e."version" = u."version" AND e."key" >= :low AND e."key" < :high
    AND e."version" <= :version AND (e."expires_at" IS NULL OR e."expires_at" > :now)
UNION ALL
SELECT 2, e."key", e."metadata" FROM (
    SELECT "version" FROM {entry_history} WHERE "end_version" > :version LIMIT :cap) h
LEFT JOIN {entry_history} e ON e."version" = h."version" AND e."key" >= :low AND e."key" < :high
    AND e."version" <= :version AND (e."expires_at" IS NULL OR e."expires_at" > :now)

-- name: narrowing
-- for: the condition that a filter adds to a scan: what the index names, and what it lacks
AND e."version" IN (SELECT r."version" FROM ({ranges}) r UNION ALL SELECT u."version" FROM ({waiting}) u)

-- name: metadata_tail
-- for: entries that the metadata index does not hold yet, in version order
SELECT "version", "metadata" FROM {entry} WHERE "version" > :indexed ORDER BY "version" LIMIT :page

-- name: metadata_table
-- for: filling the metadata index with rows that are new
{entry_metadata}

-- name: add_metadata_term
-- for: filling it with rows that may be there
INSERT INTO {entry_metadata} ("path", "value", "version") VALUES (:path, :value, :version)
ON CONFLICT ("path", "value", "version") DO NOTHING

-- name: add_ended_metadata
-- for: a store or delete: the index may hold terms of the version that ends
INSERT INTO {metadata_ended} ("key", "version", "metadata") VALUES (:key, :version, :metadata)
ON CONFLICT ("key", "version") DO NOTHING

-- name: ended_metadata
-- for: dropping the terms of such versions: the next ones
SELECT "key", "version", "metadata" FROM {metadata_ended} ORDER BY "key", "version" LIMIT :page

-- name: delete_ended_metadata
-- for: the same, when their terms are gone
DELETE FROM {metadata_ended} WHERE "key" = :key AND "version" = :version

-- name: drop_metadata_term
-- for: the same: a term of one of them
DELETE FROM {entry_metadata}
WHERE "path" = :path AND "value" = :value AND "version" = :version
  AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."version" = :version)

-- name: drop_shape
-- for: the same: the definition of a shape that no entry in the index has any more
DELETE FROM {entry_metadata}
WHERE "path" = :path AND "value" BETWEEN :from AND :to
  AND NOT EXISTS (SELECT 1 FROM {entry_metadata} m WHERE m."path" = :shapes AND m."value" = :from)

-- name: stats
-- for: the totals that stats() reports
SELECT (SELECT count(*) FROM {entry} WHERE "expires_at" IS NULL OR "expires_at" > :now),
       (SELECT count(*) FROM {entry} WHERE "expires_at" <= :now),
       (SELECT coalesce(sum(o."byte_size"), 0) FROM {entry} e JOIN {object} o
          ON o."id" = e."object_id" WHERE e."expires_at" IS NULL OR e."expires_at" > :now),
       count(*), coalesce(sum("byte_size"), 0),
       coalesce(sum(CASE WHEN "inline_value" IS NOT NULL THEN 1 ELSE 0 END), 0),
       coalesce(sum(CASE WHEN "inline_value" IS NOT NULL THEN "byte_size" ELSE 0 END), 0),
       (SELECT count(*) FROM {pack}),
       (SELECT count(*) FROM {snapshot}),
       (SELECT count(*) FROM {entry_history}),
       (SELECT coalesce(sum(u."byte_size"), 0) FROM {object} u WHERE EXISTS (
          SELECT 1 FROM {entry} e WHERE e."object_id" = u."id"
            AND (e."expires_at" IS NULL OR e."expires_at" > :now)))
FROM {object}

-- The commit of a batch, as sets: the rows of {staged} become entries by the same rules as single
-- changes. The statements run in this order.

-- name: counters
-- for: the state that a batch starts from
SELECT (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'version'),
       (SELECT max("version") FROM {snapshot})

-- name: batch_objects
-- for: naming the new contents of a batch
INSERT INTO {object} ("content_hash", "format", "byte_size", "inline_value", "uri", "pack_id",
                      "position", "created_at")
SELECT "content_hash", "format", "byte_size", "inline_value", "uri", "pack_id", "position", :now
FROM {staged}
WHERE "inline_value" IS NOT NULL OR "uri" IS NOT NULL OR "pack_id" IS NOT NULL
ORDER BY "content_hash"
ON CONFLICT ("content_hash", "format") DO NOTHING

-- name: batch_match
-- for: finding the object of each staged row, and the row that it replaces
UPDATE {staged} SET
    "object_id" = coalesce("object_id", (
        SELECT o."id" FROM {object} o WHERE o."content_hash" = {staged}."content_hash"
            AND o."format" = {staged}."format")),
    "old_version" = (SELECT e."version" FROM {entry} e WHERE e."key" = {staged}."key")

-- name: batch_missing
-- for: contents that the lake was thought to hold
SELECT count(*) FROM {staged} WHERE "content_hash" IS NOT NULL AND "object_id" IS NULL

-- name: batch_used_packs
-- for: how many objects each new pack gave
SELECT s."pack_id", count(DISTINCT s."object_id") FROM {staged} s
JOIN {object} o ON o."id" = s."object_id" AND o."pack_id" = s."pack_id"
GROUP BY s."pack_id"

-- name: batch_used_uris
-- for: which of the new files an object took
SELECT DISTINCT o."uri" FROM {staged} s
JOIN {object} o ON o."id" = s."object_id" AND o."uri" = s."uri"

-- name: batch_drop_unchanged
-- for: a store that changes nothing draws no version
DELETE FROM {staged} WHERE "old_version" IS NOT NULL AND EXISTS (
    SELECT 1 FROM {entry} e WHERE e."version" = {staged}."old_version"
        AND e."object_id" = {staged}."object_id" AND e."metadata" = {staged}."metadata"
        AND e."expires_at" IS NOT DISTINCT FROM {staged}."expires_at"
        AND (e."expires_at" IS NULL OR e."expires_at" > :now))

-- name: batch_totals
-- for: the report: rows to change, and those of them whose key is there already
SELECT count(*), count(e."key") FROM {staged} s LEFT JOIN {entry} e
ON e."version" = s."old_version" AND (e."expires_at" IS NULL OR e."expires_at" > :now)

-- name: batch_history
-- for: keeping replaced rows that a snapshot sees
INSERT INTO {entry_history} ("key", "version", "end_version", "ended_at", "object_id", "metadata",
                             "expires_at", "created_at", "updated_at")
SELECT e."key", e."version", :version + s."number", :now, e."object_id", e."metadata",
       e."expires_at", e."created_at", e."updated_at"
FROM {staged} s JOIN {entry} e ON e."version" = s."old_version"
WHERE e."version" <= :newest_snapshot

-- name: batch_described
-- for: noting those of them of which the metadata index may hold terms
INSERT INTO {metadata_ended} ("key", "version", "metadata")
SELECT e."key", e."version", e."metadata" FROM {staged} s JOIN {entry} e ON e."version" = s."old_version"
WHERE e."metadata" <> '{}' AND e."version" <= (
    SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'metadata_indexed')
ON CONFLICT ("key", "version") DO NOTHING

-- name: batch_candidates
-- for: noting the objects of replaced rows that are not kept
INSERT INTO {candidate} ("object_id")
SELECT DISTINCT e."object_id" FROM {staged} s JOIN {entry} e ON e."version" = s."old_version"
WHERE e."version" > :newest_snapshot AND e."object_id" IS DISTINCT FROM s."object_id"
ON CONFLICT ("object_id") DO NOTHING

-- name: batch_delete
-- for: staged deletes
DELETE FROM {entry} WHERE "version" IN (
    SELECT "old_version" FROM {staged} WHERE "object_id" IS NULL)

-- name: batch_put
-- for: creating and replacing entries
INSERT INTO {entry} ("key", "version", "object_id", "metadata", "expires_at", "created_at",
                     "updated_at")
SELECT s."key", :version + s."number", s."object_id", s."metadata", s."expires_at",
       coalesce(s."created_at", e."created_at", :now), coalesce(s."updated_at", :now)
FROM {staged} s LEFT JOIN {entry} e
ON e."version" = s."old_version" AND (e."expires_at" IS NULL OR e."expires_at" > :now)
WHERE s."object_id" IS NOT NULL
ORDER BY s."number"
ON CONFLICT ("key") DO UPDATE SET
    "version" = excluded."version", "object_id" = excluded."object_id",
    "metadata" = excluded."metadata", "expires_at" = excluded."expires_at",
    "created_at" = excluded."created_at", "updated_at" = excluded."updated_at"

-- name: last_staged
-- for: how far a batch advances the version counter
SELECT max("number") FROM {staged}

-- name: unstage
-- for: leaving the connection clean
DELETE FROM {staged}

-- Snapshots and earlier moments. A moment is a version and a time: entries as of the version, expiry
-- judged at the time. Its queries look at {entry}, for rows that have stood since, and {entry_history}.
-- {pinned} holds while the moment can still be read.

-- name: pinned_snapshot
-- for: the part of a statement that finds out whether a snapshot still exists
EXISTS (SELECT 1 FROM {snapshot} WHERE "id" = :snapshot)

-- name: pinned_version
-- for: the same for a version without a snapshot: its history must not have been pruned
EXISTS (SELECT 1 FROM {lakebed_meta} WHERE "name" = 'history_floor'
        AND CAST("value" AS {integer}) <= :version)

-- name: is_pinned
-- for: telling an empty answer from a moment that is gone
SELECT 1 WHERE {pinned}

-- name: get_entries_at
-- for: reading keys as of a moment
SELECT {entry_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" IN ({keys}) AND e."version" <= :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
UNION ALL
SELECT {entry_columns}
FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" IN ({keys}) AND e."version" <= :version AND e."end_version" > :version
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}

-- name: list_entries_at
-- for: one page of a listing as of a moment, in key order. Each half has its own order and end: else
-- Postgres and MariaDB join and sort all of both tables for each page
SELECT * FROM (
    SELECT {entry_columns}
    FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
    WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
    ORDER BY e."key" LIMIT :page
) standing
UNION ALL
SELECT * FROM (
    SELECT {entry_columns}
    FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
    WHERE e."key" >= :low AND e."key" < :high
      AND e."version" <= :version AND e."end_version" > :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
    ORDER BY e."key" LIMIT :page
) replaced
ORDER BY 1 LIMIT :page

-- name: list_keys_at
-- for: iterating a lake as of a moment
SELECT * FROM (
    SELECT e."key" FROM {entry} e
    WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
    ORDER BY e."key" LIMIT :page
) standing
UNION ALL
SELECT * FROM (
    SELECT e."key" FROM {entry_history} e
    WHERE e."key" >= :low AND e."key" < :high
      AND e."version" <= :version AND e."end_version" > :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
    ORDER BY e."key" LIMIT :page
) replaced
ORDER BY 1 LIMIT :page

-- name: list_metadata_at
-- for: list_metadata as of a moment, of what is visible then
SELECT * FROM (
    SELECT e."key", e."metadata", 1
    FROM {entry} e
    WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now)
    ORDER BY e."key" LIMIT :page
) standing
UNION ALL
SELECT * FROM (
    SELECT e."key", e."metadata", 1
    FROM {entry_history} e
    WHERE e."key" >= :low AND e."key" < :high
      AND e."version" <= :version AND e."end_version" > :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now)
    ORDER BY e."key" LIMIT :page
) replaced
ORDER BY 1 LIMIT :page

-- name: count_entries_at
-- for: len and the number of entries under a prefix as of a moment, NULL if it is gone: those of now,
-- and what has changed since
SELECT CASE WHEN {pinned} THEN
    (SELECT count(*) FROM {entry} WHERE "key" >= :low AND "key" < :high)
  - (SELECT count(*) FROM {entry} WHERE "version" > :version
       AND {unindexed}"key" >= :low AND {unindexed}"key" < :high)
  - (SELECT count(*) FROM {entry} WHERE "expires_at" <= :now AND {unindexed}"version" <= :version
       AND {unindexed}"key" >= :low AND {unindexed}"key" < :high)
  + (SELECT count(*) FROM {entry_history} WHERE "end_version" > :version
       AND {unindexed}"version" <= :version
       AND ({unindexed}"expires_at" IS NULL OR {unindexed}"expires_at" > :now)
       AND {unindexed}"key" >= :low AND {unindexed}"key" < :high)
END

-- name: totals_at
-- for: stats as of a moment: entries, their bytes, and the distinct objects behind them
WITH seen AS (
    SELECT e."object_id", o."byte_size", o."pack_id", o."inline_value" IS NOT NULL AS "inlined"
    FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
    WHERE e."key" >= :low AND e."key" < :high AND e."version" <= :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
    UNION ALL
    SELECT e."object_id", o."byte_size", o."pack_id", o."inline_value" IS NOT NULL
    FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
    WHERE e."key" >= :low AND e."key" < :high
      AND e."version" <= :version AND e."end_version" > :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) AND {pinned}
)
SELECT (SELECT count(*) FROM seen), (SELECT coalesce(sum("byte_size"), 0) FROM seen),
       count(*), coalesce(sum("byte_size"), 0),
       coalesce(sum(CASE WHEN "inlined" THEN 1 ELSE 0 END), 0),
       coalesce(sum(CASE WHEN "inlined" THEN "byte_size" ELSE 0 END), 0),
       count(DISTINCT "pack_id")
FROM (SELECT DISTINCT "object_id", "byte_size", "pack_id", "inlined" FROM seen) distinct_objects

-- name: changed_keys
-- for: diff: keys that may differ between two moments, from index ranges of what happened between
SELECT "key" FROM {entry} WHERE "version" > :from_version AND "version" <= :to_version
  AND {unindexed}"key" >= :low AND {unindexed}"key" < :high
UNION
SELECT "key" FROM {entry_history} WHERE "version" > :from_version AND "version" <= :to_version
  AND {unindexed}"key" >= :low AND {unindexed}"key" < :high
UNION
SELECT "key" FROM {entry_history}
WHERE "end_version" > :from_version AND "end_version" <= :to_version
  AND {unindexed}"key" >= :low AND {unindexed}"key" < :high
UNION
SELECT "key" FROM {entry} WHERE "expires_at" > :from_time AND "expires_at" <= :to_time
  AND {unindexed}"key" >= :low AND {unindexed}"key" < :high
UNION
SELECT "key" FROM {entry_history} WHERE "expires_at" > :from_time AND "expires_at" <= :to_time
  AND {unindexed}"key" >= :low AND {unindexed}"key" < :high
ORDER BY 1

-- name: count_expired_since
-- for: restore: entries of a moment that have expired since
SELECT (SELECT count(*) FROM {entry} WHERE "version" <= :version
          AND "expires_at" > :time AND "expires_at" <= :now AND {unindexed}"key" >= :low AND {unindexed}"key" < :high)
     + (SELECT count(*) FROM {entry_history} WHERE "version" <= :version
          AND "end_version" > :version
          AND "expires_at" > :time AND "expires_at" <= :now AND {unindexed}"key" >= :low AND {unindexed}"key" < :high)

-- name: insert_snapshot
-- for: create_snapshot
INSERT INTO {snapshot} ("id", "name", "version", "message", "author", "created_at")
VALUES (:id, :name, :version, :message, :author, :now)
ON CONFLICT ("name") DO NOTHING

-- name: list_snapshots
-- for: snapshots(), oldest first
SELECT "id", "name", "version", "message", "author", "created_at", "purged_at" FROM {snapshot}
ORDER BY "version", "created_at", "name"

-- name: get_snapshot
-- for: naming a snapshot by its name or id
SELECT "id", "name", "version", "message", "author", "created_at", "purged_at" FROM {snapshot}
WHERE "id" = :name OR "name" = :name

-- name: delete_snapshot
-- for: drop_snapshot
DELETE FROM {snapshot} WHERE "id" = :id

-- name: entry_versions
-- for: history(key): the versions below :before that are kept, newest first
SELECT {entry_columns}, NULL AS "end_version", NULL AS "ended_at"
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."key" = :key AND e."version" < :before
UNION ALL
SELECT * FROM (
    SELECT {entry_columns}, e."end_version", e."ended_at"
    FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
    WHERE e."key" = :key AND e."version" < :before
    ORDER BY e."version" DESC LIMIT :page
) replaced
ORDER BY 2 DESC LIMIT :page

-- name: last_event
-- for: at(datetime): the last change at or before a time; each part looks back from the newest
SELECT max("version") FROM (
    SELECT * FROM (SELECT "version" FROM {entry} WHERE "updated_at" <= :time
                   ORDER BY "version" DESC LIMIT 1) a
    UNION ALL
    SELECT * FROM (SELECT "version" FROM {entry_history} WHERE "updated_at" <= :time
                   ORDER BY "version" DESC LIMIT 1) b
    UNION ALL
    SELECT * FROM (SELECT "end_version" FROM {entry_history} WHERE "ended_at" <= :time
                   ORDER BY "end_version" DESC LIMIT 1) c
) events

-- name: event_time
-- for: at(version): when the change that drew this version, or the last before it, happened
SELECT max("time") FROM (
    SELECT * FROM (SELECT "updated_at" AS "time" FROM {entry} WHERE "version" <= :version
                   ORDER BY "version" DESC LIMIT 1) a
    UNION ALL
    SELECT * FROM (SELECT "updated_at" FROM {entry_history} WHERE "version" <= :version
                   ORDER BY "version" DESC LIMIT 1) b
    UNION ALL
    SELECT * FROM (SELECT "ended_at" FROM {entry_history} WHERE "end_version" <= :version
                   ORDER BY "end_version" DESC LIMIT 1) c
) events

-- name: prunable_history
-- for: maintenance: versions that no snapshot sees and no retention keeps
SELECT h."version", h."object_id", h."end_version", h."ended_at" FROM {entry_history} h
WHERE {which} AND h."ended_at" <= :horizon AND NOT EXISTS (
    SELECT 1 FROM {snapshot} s
    WHERE s."version" >= h."version" AND s."version" < h."end_version")
ORDER BY h."version" LIMIT :page

-- name: delete_history
-- for: maintenance: forgetting versions
DELETE FROM {entry_history} WHERE "version" IN ({values})

-- name: raise_meta
-- for: maintenance: versions below the history's floor, and times before its time, are not kept
UPDATE {lakebed_meta} SET "value" = :value WHERE "name" = :name AND CAST("value" AS {integer}) < :value

-- name: history_floor
-- for: at(datetime) and at(version): how far back the history reaches
SELECT (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'history_floor'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'history_floor_time')
