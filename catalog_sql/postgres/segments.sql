-- Versions are not committed in their order here, so no version says how far the segments reach: each
-- store queues its version, and a batch all of its versions at once. `segments_indexed` counts the
-- segments that were built of what waited.

-- name: look
-- for: a search: the state of the segments (0), what waits for one (1) and what has ended (2), of
-- one moment and in one statement
SELECT 0, (SELECT "value"::bigint FROM {lakebed_meta} WHERE "name" = 'segments_changed'),
       (SELECT "value"::bigint FROM {lakebed_meta} WHERE "name" = 'segments_indexed'),
       (SELECT "value"::bigint FROM {lakebed_meta} WHERE "name" = 'segments_purged'), :now
UNION ALL
SELECT 1, e."version", 0, 0, 0 FROM {entry} e WHERE e."version" IN (
    SELECT "version" FROM {segment_queue}
    UNION ALL SELECT unnest("versions") FROM {queued_batch} WHERE "queue" = 'text')
UNION ALL
SELECT 2, "version", "end_version", 0, 0 FROM {segment_ended}

-- name: waiting
-- for: a search: entries that no segment holds
SELECT e."version" FROM {entry} e WHERE :indexed >= 0 AND e."version" IN (
    SELECT "version" FROM {segment_queue}
    UNION ALL SELECT unnest("versions") FROM {queued_batch} WHERE "queue" = 'text')

-- name: waiting_at
-- for: the same as of a moment
WITH q AS MATERIALIZED (
    SELECT "version" FROM {segment_queue} WHERE :indexed >= 0
    UNION ALL SELECT unnest("versions") FROM {queued_batch} WHERE "queue" = 'text'
)
SELECT e."version" FROM q JOIN {entry} e ON e."version" = q."version"
WHERE e."version" <= :version
UNION ALL
SELECT h."version" FROM q JOIN {entry_history} h ON h."version" = q."version"
WHERE h."version" <= :version AND h."end_version" > :version

-- name: look_at
-- for: the same as of a moment, if that is still there (3)
WITH q AS MATERIALIZED (
    SELECT "version" FROM {segment_queue}
    UNION ALL SELECT unnest("versions") FROM {queued_batch} WHERE "queue" = 'text'
)
SELECT 0, (SELECT "value"::bigint FROM {lakebed_meta} WHERE "name" = 'segments_changed'),
       (SELECT "value"::bigint FROM {lakebed_meta} WHERE "name" = 'segments_indexed'),
       (SELECT "value"::bigint FROM {lakebed_meta} WHERE "name" = 'segments_purged'), 0::bigint
UNION ALL
SELECT 1, e."version", 0, 0, 0 FROM q JOIN {entry} e ON e."version" = q."version"
WHERE e."version" <= :version
UNION ALL
SELECT 1, h."version", 0, 0, 0 FROM q JOIN {entry_history} h ON h."version" = q."version"
WHERE h."version" <= :version AND h."end_version" > :version
UNION ALL
SELECT 2, "version", "end_version", 0, 0 FROM {segment_ended}
UNION ALL
SELECT 3, 0, 0, 0, 0 WHERE {pinned}

-- name: waiting_versions
-- for: building a segment: nothing waits but what is queued
SELECT 0::bigint WHERE :indexed + :page < 0

-- name: queued_batches
-- for: building a segment: the next batches
SELECT "id", "versions" FROM {queued_batch} WHERE "queue" = 'text' ORDER BY "id" LIMIT :page

-- name: delete_queued_batches
-- for: what a segment holds now
DELETE FROM {queued_batch} WHERE "id" IN ({values})

-- name: waiting_many
-- for: deciding whether to build a segment, counted up to :cap
SELECT (SELECT count(*) FROM (SELECT 1 FROM {segment_queue} WHERE :indexed >= 0 LIMIT :cap) capped)
     + (SELECT coalesce(sum(cardinality("versions")), 0)::bigint FROM {queued_batch}
        WHERE "queue" = 'text')

-- name: batch_ended
-- for: an entry that a segment may hold is replaced or deleted
INSERT INTO {segment_ended} ("version", "end_version")
SELECT e."version", CASE WHEN e."version" <= :newest_snapshot THEN :version + s."number" ELSE 0 END
FROM {staged} s JOIN {entry} e ON e."version" = s."old_version"
