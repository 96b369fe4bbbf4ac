-- Search: the segments, which entries none of them holds yet, and which of their documents ended.
-- The index itself is in the segments. Entries above the version `segments_indexed` wait for one,
-- and those in {segment_queue}: whose text could not be read, or whose segment was damaged. (Where
-- versions are not committed in their order, all that wait are in a queue.)

-- name: segment_state
-- for: whether anything has changed, how far the segments reach, and how often a purge has removed
-- something of them
SELECT (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_changed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_purged')

-- name: look
-- for: a search: the state of the segments (0), what waits for one (1) and what has ended (2), of
-- one moment and in one statement
SELECT 0, (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_changed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_purged'),
       CAST(:now AS {integer})
UNION ALL
SELECT 1, "version", 0, 0, 0 FROM {entry} WHERE "version" > (
    SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed')
UNION ALL
SELECT 1, "version", 0, 0, 0 FROM {entry} WHERE "version" IN (
    SELECT "version" FROM {segment_queue} WHERE "version" <= (
        SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'))
UNION ALL
SELECT 2, "version", "end_version", 0, 0 FROM {segment_ended}

-- name: list_segments
-- for: the segments that there are
SELECT "id", "content_hash", "byte_size", "documents", "uri" FROM {segment} ORDER BY "id"

-- name: segments_now
-- for: opening them: with their state, in one statement
SELECT (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_changed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_purged'),
       s."id", s."content_hash", s."byte_size", s."documents", s."uri"
FROM (SELECT 1 AS "one") o LEFT JOIN {segment} s ON 1 = 1 ORDER BY s."id"

-- name: segment_bytes
-- for: reading a segment that lies in the catalog
SELECT "inline_value" FROM {segment} WHERE "id" = :id

-- name: segment_ends
-- for: what had ended when a segment was written, of the documents of earlier ones
SELECT "id", "ends" FROM {segment} WHERE "id" IN ({ids})

-- name: add_segment
-- for: naming a new segment
INSERT INTO {segment} ("id", "content_hash", "byte_size", "documents", "inline_value", "uri", "ends")
VALUES (:id, :content_hash, :byte_size, :documents, :inline_value, :uri, :ends)

-- name: delete_segment
-- for: a segment that others have replaced
DELETE FROM {segment} WHERE "id" = :id

-- name: waiting
-- for: a search: entries that no segment holds
SELECT "version" FROM {entry} WHERE "version" > :indexed
UNION ALL
SELECT "version" FROM {entry} WHERE "version" IN (
    SELECT "version" FROM {segment_queue} WHERE "version" <= :indexed)

-- name: waiting_at
-- for: the same as of a moment
SELECT "version" FROM {entry} WHERE "version" > :indexed AND "version" <= :version
UNION ALL
SELECT "version" FROM {entry_history}
WHERE "version" > :indexed AND "version" <= :version AND "end_version" > :version
UNION ALL
SELECT "version" FROM {entry} WHERE "version" <= :version AND "version" IN (
    SELECT "version" FROM {segment_queue} WHERE "version" <= :indexed)
UNION ALL
SELECT "version" FROM {entry_history}
WHERE "version" <= :version AND "end_version" > :version AND "version" IN (
    SELECT "version" FROM {segment_queue} WHERE "version" <= :indexed)

-- name: look_at
-- for: the same as of a moment, if that is still there (3)
SELECT 0, (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_changed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_purged'), 0
UNION ALL
SELECT 1, "version", 0, 0, 0 FROM {entry} WHERE "version" <= :version AND "version" > (
    SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed')
UNION ALL
SELECT 1, "version", 0, 0, 0 FROM {entry_history}
WHERE "version" <= :version AND "end_version" > :version AND "version" > (
    SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed')
UNION ALL
SELECT 1, "version", 0, 0, 0 FROM {entry} WHERE "version" <= :version AND "version" IN (
    SELECT "version" FROM {segment_queue} WHERE "version" <= (
        SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'))
UNION ALL
SELECT 1, "version", 0, 0, 0 FROM {entry_history}
WHERE "version" <= :version AND "end_version" > :version AND "version" IN (
    SELECT "version" FROM {segment_queue} WHERE "version" <= (
        SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'segments_indexed'))
UNION ALL
SELECT 2, "version", "end_version", 0, 0 FROM {segment_ended}
UNION ALL
SELECT 3, 0, 0, 0, 0 FROM {lakebed_meta} WHERE "name" = 'segments_changed' AND {pinned}

-- name: waiting_versions
-- for: building a segment: the next versions, those that are history included
SELECT "version" FROM {entry} WHERE "version" > :indexed
UNION ALL
SELECT "version" FROM {entry_history} WHERE "version" > :indexed
ORDER BY 1 LIMIT :page

-- name: queued_versions
-- for: building a segment: the next that are queued
SELECT "version" FROM {segment_queue} WHERE "version" > :after ORDER BY "version" LIMIT :page

-- name: waiting_many
-- for: deciding whether to build a segment, counted up to :cap
SELECT count(*) FROM (
    SELECT 1 FROM {entry} WHERE "version" > :indexed
    UNION ALL SELECT 1 FROM {segment_queue}
    LIMIT :cap) capped

-- name: get_versions
-- for: the rows of versions that stand
SELECT {entry_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" IN ({versions})

-- name: get_history_versions
-- for: the rows of versions that are history
SELECT {entry_columns}, e."end_version"
FROM {entry_history} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" IN ({versions})

-- name: standing_versions
-- for: which of the versions in a new segment still stand
SELECT "version" FROM {entry} WHERE "version" IN ({versions})

-- name: ended_history
-- for: which of them are history, and since when
SELECT "version", "end_version" FROM {entry_history} WHERE "version" IN ({versions})

-- name: all_versions
-- for: finding what a damaged segment held
SELECT "version" FROM {entry}
UNION ALL
SELECT "version" FROM {entry_history}

-- name: list_ended
-- for: which documents of segments have ended since these were written; end_version is 0 where no
-- moment sees the version, below 0 where it was purged
SELECT "version", "end_version" FROM {segment_ended}

-- name: add_ended
-- for: an entry that a segment holds is replaced or deleted
INSERT INTO {segment_ended} ("version", "end_version") VALUES (:version, :end_version)
ON CONFLICT ("version") DO UPDATE SET "end_version" = excluded."end_version"

-- name: batch_ended
-- for: the same for a batch, before it replaces them
INSERT INTO {segment_ended} ("version", "end_version")
SELECT e."version", CASE WHEN e."version" <= :newest_snapshot THEN :version + s."number" ELSE 0 END
FROM {staged} s JOIN {entry} e ON e."version" = s."old_version"
WHERE e."version" <= (SELECT CAST("value" AS {integer}) FROM {lakebed_meta}
                      WHERE "name" = 'segments_indexed')

-- name: purge_ended
-- for: purge: no moment sees these versions any more
INSERT INTO {segment_ended} ("version", "end_version")
SELECT "version", -1 FROM {entry} WHERE "key" >= :low AND "key" < :high
UNION ALL
SELECT "version", -1 FROM {entry_history} WHERE "key" >= :low AND "key" < :high
ON CONFLICT ("version") DO UPDATE SET "end_version" = -1

-- name: delete_ended
-- for: what a segment's row has taken over
DELETE FROM {segment_ended} WHERE "version" IN ({values})

-- name: add_queued
-- for: an entry that waits although the segments reach further
INSERT INTO {segment_queue} ("version") VALUES (:version) ON CONFLICT ("version") DO NOTHING

-- name: delete_queued
-- for: what a segment holds now
DELETE FROM {segment_queue} WHERE "version" IN ({values})
