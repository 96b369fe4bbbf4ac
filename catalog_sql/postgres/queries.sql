-- What Postgres says its own way. {lock} is the number of the lake's advisory lock.

-- name: table_names
-- for: telling a new schema, a lake, and somebody else's schema apart
SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {schema_text} AND c.relkind IN ('r', 'p', 'v', 'm', 'f')

-- name: list_entries_at
-- for: one page of a listing as of a moment, in key order: which entries it has is found without their
-- contents, which are then looked up one by one. Else the server looks up twice as many, and starts
-- parallel workers for a page
SELECT {entry_columns}
FROM (
    SELECT * FROM (
        (SELECT "key", "version", "object_id", "metadata", "expires_at", "created_at", "updated_at"
         FROM {entry}
         WHERE "key" >= :low AND "key" < :high AND "version" <= :version
           AND ("expires_at" IS NULL OR "expires_at" > :now) AND {pinned}
         ORDER BY "key" LIMIT :page)
        UNION ALL
        (SELECT "key", "version", "object_id", "metadata", "expires_at", "created_at", "updated_at"
         FROM {entry_history}
         WHERE "key" >= :low AND "key" < :high AND "version" <= :version AND "end_version" > :version
           AND ("expires_at" IS NULL OR "expires_at" > :now) AND {pinned}
         ORDER BY "key" LIMIT :page)
    ) halves ORDER BY "key" LIMIT :page
) e
JOIN LATERAL (SELECT * FROM {object} o WHERE o."id" = e."object_id" LIMIT 1) o ON true
ORDER BY e."key"

-- name: array
-- for: the values of an IN list as one parameter
SELECT unnest(:array::{type}[])

-- name: session_tls
-- for: the doctor: how this connection is encrypted
SELECT s.version, s.cipher FROM pg_catalog.pg_stat_ssl s WHERE s.pid = pg_backend_pid()

-- name: begin_write
-- for: a writer's first statements: others may write too, snapshots wait
BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {timeout};
SELECT pg_advisory_xact_lock_shared({lock})

-- name: begin_exclusive
-- for: snapshots and migrations: no writer may be at work; asked for briefly, and again
BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {briefly};
SELECT pg_advisory_xact_lock({lock}); SET LOCAL lock_timeout = {timeout}

-- name: put_entry
-- for: a store
SELECT * FROM {schema}."put_entry"(:key, :content_hash, :format, :byte_size, :inline_value, :uri,
    :pack_id, :position, :metadata, :ttl, :expires_at, :if_absent, :if_match, :clock, :keep_all,
    :writer, :token)

-- name: remove_entry
-- for: a delete
SELECT * FROM {schema}."delete_entry"(:key, :if_match, :clock, :keep_all, :writer, :token)

-- name: signal
-- for: waking those who listen
SELECT 1 FROM (SELECT pg_notify(:channel, '')) n

-- name: listen
-- for: hearing it
LISTEN {channel}

-- name: take_entry
-- for: take
SELECT * FROM {schema}."take_entry"(:low, :high, :cut, :into, :clock, :keep_all, :writer, :token)

-- name: name_object
-- for: locking the contents of several changes in the order of their hashes
SELECT * FROM {schema}."name_object"(:content_hash, :format, :byte_size, :inline_value, :uri,
    :pack_id, :position, :clock)

-- name: lock_row
-- for: an entry whose expiry or value is to be kept: nobody changes it before the end. By itself: joined to
-- its object it would be missed when somebody replaces it just before
SELECT 1 FROM {entry} WHERE "key" = :key FOR UPDATE

-- name: close_writer
-- for: finding out whether a commit happened whose answer was lost; no later one can
INSERT INTO {writer} ("id", "token", "closed", "seen")
VALUES (:id, 0, true, {schema}."now_micros"())
ON CONFLICT ("id") DO UPDATE SET "closed" = true
RETURNING "token", "version", "created", "deduplicated", "expires_at", "created_at", "updated_at"

-- name: note_commit
-- for: the same, for a transaction of several statements: its last one before COMMIT
SELECT {schema}."note_commit"(:id, :token)

-- name: last_commit
-- for: the last commit that a connection noted
SELECT "token" FROM {writer} WHERE "id" = :id

-- name: drop_writers
-- for: forgetting connections that are long gone
DELETE FROM {writer} WHERE "seen" < {schema}."now_micros"() - 7 * 86400000000

-- name: sequence_gap
-- for: on opening: how far the sequence lies behind the versions that are stored; a user who draws no
-- versions needs no right to it
SELECT CASE WHEN has_sequence_privilege('{schema}."version"', 'USAGE') THEN
    greatest((SELECT max("version") FROM {entry}), (SELECT max("version") FROM {entry_history}),
        (SELECT max("end_version") FROM {entry_history}), (SELECT max("version") FROM {snapshot}), 0)
    - coalesce(pg_sequence_last_value('{schema}."version"'), 0)
  ELSE 0 END

-- name: raise_sequence
-- for: closing that gap, under the exclusive lock
SELECT setval('{schema}."version"', greatest((SELECT max("version") FROM {entry}),
    (SELECT max("version") FROM {entry_history}), (SELECT max("end_version") FROM {entry_history}),
    (SELECT max("version") FROM {snapshot}), 1))

-- name: counters
-- for: the state that a batch or a snapshot starts from
SELECT (SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END
        FROM {schema}."version"),
       (SELECT max("version") FROM {snapshot})

-- name: expired_keys
-- for: the next entries to clean up, locked: an entry that is stored anew meanwhile must stay
SELECT "key" FROM {entry} WHERE "expires_at" <= :now ORDER BY "expires_at" LIMIT :page
FOR UPDATE SKIP LOCKED

-- name: has_doubled
-- for: whether a table has more than twice the pages that the planner knows of
SELECT EXISTS (
    SELECT 1 FROM pg_catalog.pg_class
    WHERE oid IN ('{entry}'::regclass, '{entry_history}'::regclass)
      AND pg_relation_size(oid) / current_setting('block_size')::bigint > 2 * relpages + 8)

-- name: analyze
-- for: telling the planner of a bulk load: until the server does so by itself, a minute later, it
-- takes a range of keys for a few rows, and reads and sorts all of them for a page. A user who does
-- not own the tables is passed over by the server, with a warning
ANALYZE (SKIP_LOCKED) {entry} ("key", "version", "object_id", "expires_at"),
    {entry_history} ("key", "version", "end_version", "object_id", "expires_at"), {object} ("id")

-- name: tidy
-- for: a client that has overwritten so much: removing what that leaves; how many contents
SELECT {schema}."tidy"(:page)

-- name: worn_tables
-- for: the same: tables whose space should be given back before the server comes by: those of which a
-- third is dead, as the server counts (a second late) or as this client knows, if they are small
-- enough for it to take no time, and ours
SELECT '{schema}.' || quote_ident(c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {schema_text} AND c.relkind = 'r' AND pg_has_role(c.relowner, 'USAGE')
  AND c.relname IN ('object', 'entry', 'entry_history', 'candidate', 'segment_queue',
                    'segment_ended', 'queued_batch', 'metadata_queue', 'metadata_ended', 'entry_metadata',
                    'writer', 'part')
  AND pg_relation_size(c.oid) < 100 * 1048576
  AND greatest(pg_stat_get_dead_tuples(c.oid), CASE WHEN c.relname IN
          ('object', 'entry', 'candidate', 'segment_queue', 'segment_ended')
          THEN :replaced ELSE 0 END)
      >= CASE c.relname WHEN 'queued_batch' THEN :least / 20  -- whose rows are large
         ELSE greatest(:least, c.reltuples / 2) END

-- name: row_density
-- for: the same: how many rows a page holds, as the last vacuum left it
SELECT sum(greatest(reltuples, 0))::float8 / greatest(sum(relpages), 1) FROM pg_catalog.pg_class
WHERE oid IN ('{object}'::regclass, '{entry}'::regclass)

-- name: vacuum
-- for: giving the space of their dead rows back to these tables, beside readers and writers; one that
-- is being done is passed over
VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0) {tables}

-- name: find_ids
-- for: a batch: the objects of contents that are there, locked so that no tidying takes them
SELECT "content_hash", "format", "id" FROM {object} WHERE "content_hash" = ANY (:hashes)
FOR KEY SHARE

-- name: add_part
-- for: append: a part that a new table lists, locked so that no tidying takes it
INSERT INTO {part} ("object_id", "part_id")
SELECT o."id", p."id" FROM {object} o, {object} p
WHERE o."content_hash" = :content_hash AND o."format" = :format
  AND p."content_hash" = :part_hash AND p."format" = :part_format
FOR KEY SHARE OF p

-- name: set_times
-- for: copying a table of parts: its times in the other lake
UPDATE {entry} SET "created_at" = :created_at, "updated_at" = :updated_at WHERE "key" = :key

-- name: batch_lock_objects
-- for: the same for a batch that is staged; those that it has made need no lock
SELECT count(*) FROM (
    SELECT 1 FROM {staged} s JOIN {object} o
    ON o."content_hash" = s."content_hash" AND o."format" = s."format"
    WHERE o.xmin <> pg_current_xact_id()::xid FOR KEY SHARE OF o) locked

-- name: draw_numbers
-- for: a batch that may be new altogether: versions, which it queues, and ids of objects; none if a
-- sample is there
WITH probe AS (
    SELECT EXISTS (SELECT 1 FROM {entry} WHERE "key" = ANY (:keys)) AS "there"
), drawn AS (
    SELECT nextval('{schema}."version"') AS "version", n / 2000 AS "part"
    FROM probe p, generate_series(0, :entries - 1) n WHERE NOT p."there"
), queued AS (
    INSERT INTO {queued_batch} ("queue", "versions")
    SELECT q, array_agg(d."version") FROM drawn d, unnest(:queues::text[]) q GROUP BY q, d."part"
)
SELECT (SELECT array_agg("version") FROM drawn),
       (SELECT array_agg(nextval(i."ids")) FROM probe p, generate_series(1, :contents), (
            SELECT pg_get_serial_sequence('{object}', 'id')::regclass AS "ids" OFFSET 0) i
        WHERE NOT p."there")

-- name: copy_objects
-- for: the contents of such a batch, in the order of their hashes
COPY {object} ("id", "content_hash", "format", "byte_size", "inline_value", "created_at")
FROM STDIN (FORMAT binary)

-- name: copy_entries
-- for: its entries, in key order
COPY {entry} ("key", "version", "object_id", "metadata", "expires_at", "created_at", "updated_at")
FROM STDIN (FORMAT binary)

-- name: copy_overtaken
-- for: whether a key was stored and deleted by others since its number was drawn
SELECT count(*) FROM unnest(:keys::text[], :versions::bigint[]) s("key", "version")
JOIN {entry_history} h ON h."key" = s."key" COLLATE "C" AND h."end_version" > s."version"

-- name: create_staged
-- for: what a batch is about to store, in key order, for the time of its commit; a row without a
-- content hash and object is a delete
CREATE TEMP TABLE staged (
    "number" bigint NOT NULL,
    "key" text COLLATE "C" NOT NULL,
    "content_hash" bytea,
    "format" text COLLATE "C",
    "byte_size" bigint,
    "inline_value" bytea,
    "uri" text COLLATE "C",
    "pack_id" bigint,
    "position" text COLLATE "C",
    "metadata" text COLLATE "C",
    "expires_at" bigint,
    "created_at" bigint,
    "updated_at" bigint,
    "object_id" bigint
) ON COMMIT DROP

-- name: batch_lock_entries
-- for: holding the rows that a batch replaces, in the order of their keys
SELECT count(*) FROM (
    SELECT 1 FROM {entry} e WHERE e."key" IN (SELECT s."key" FROM {staged} s)
    ORDER BY e."key" FOR UPDATE) locked

-- name: batch_match
-- for: finding the object of each staged row and the row that it replaces, and drawing its version,
-- once the rows are locked
CREATE TEMP TABLE matched ON COMMIT DROP AS
SELECT nextval('{schema}."version"') AS "number", s."key", s."content_hash", s."uri", s."pack_id",
    coalesce(s."object_id", o."id") AS "object_id", s."metadata", s."expires_at", s."created_at",
    s."updated_at", e."version" AS "old_version",
    e."version" IS NOT NULL AND (e."expires_at" IS NULL OR e."expires_at" > {time}) AS "old_alive",
    e."object_id" = coalesce(s."object_id", o."id") AND e."metadata" = s."metadata"
        AND e."expires_at" IS NOT DISTINCT FROM s."expires_at"
        AND (e."expires_at" IS NULL OR e."expires_at" > {time}) AS "unchanged"
FROM {staged} s
LEFT JOIN {object} o ON o."content_hash" = s."content_hash" AND o."format" = s."format"
LEFT JOIN {entry} e ON e."key" = s."key";
DROP TABLE {staged};
ALTER TABLE pg_temp.matched RENAME TO staged

-- name: count_matched
-- for: whether all rows that a batch replaces are locked: as many as were
SELECT count("old_version") FROM {staged}

-- name: batch_drop_unchanged
-- for: a store that changes nothing has no new version
DELETE FROM {staged} WHERE "unchanged"

-- name: batch_totals
-- for: the report: rows to change, and those of them whose key is there already
SELECT count(*), count(*) FILTER (WHERE "old_alive") FROM {staged}

-- name: batch_put
-- for: replacing entries
UPDATE {entry} e SET
    "version" = s."number", "object_id" = s."object_id", "metadata" = s."metadata",
    "expires_at" = s."expires_at", "updated_at" = coalesce(s."updated_at", :now),
    "created_at" = coalesce(s."created_at", CASE
        WHEN e."expires_at" IS NULL OR e."expires_at" > :now THEN e."created_at" ELSE :now END)
FROM {staged} s
WHERE e."version" = s."old_version" AND s."object_id" IS NOT NULL

-- name: batch_create
-- for: creating entries; fewer than wanted mean that somebody else was first
INSERT INTO {entry} ("key", "version", "object_id", "metadata", "expires_at", "created_at",
                     "updated_at")
SELECT s."key", s."number", s."object_id", s."metadata", s."expires_at",
       coalesce(s."created_at", :now), coalesce(s."updated_at", :now)
FROM {staged} s WHERE s."old_version" IS NULL AND s."object_id" IS NOT NULL
ORDER BY s."key"
ON CONFLICT ("key") DO NOTHING

-- name: count_new
-- for: how many entries batch_create has to create, and how many rows the others replace
SELECT count(*) FILTER (WHERE "old_version" IS NULL AND "object_id" IS NOT NULL),
       count("old_version")
FROM {staged}

-- name: batch_overtaken
-- for: whether a key was stored and deleted by others since its number was drawn
SELECT count(*) FROM {staged} s JOIN {entry_history} h
ON h."key" = s."key" AND h."end_version" > s."number"

-- name: batch_queue
-- for: telling the metadata index and the text index what they lack
INSERT INTO {queued_batch} ("queue", "versions")
SELECT q, array_agg(s."number") FROM {staged} s, (VALUES ('metadata'), ('text')) queues (q)
WHERE s."object_id" IS NOT NULL AND (q = 'text' OR s."metadata" <> '{}')
GROUP BY q, s."number" / 2000

-- name: unstage
-- for: making room for another batch in the same transaction
DROP TABLE {staged}

-- name: index_range
-- for: the versions that have a term in one range of the metadata index, up to :cap
SELECT r{n}."version"
FROM {schema}."index_range"(:path{n}, :from{n}, :to{n}, :cap) r{n} ("version")

-- name: bare_entries
-- for: the versions without metadata, which have no term in the metadata index, up to :cap
SELECT bare."version" FROM {schema}."bare_entries"(:cap) bare ("version")

-- name: shapes
-- for: what the metadata index defines of the shapes that entries have
SELECT s."value" FROM {schema}."shapes"(:path, :page) s ("value")

-- name: indexed_metadata
-- for: reading candidates. Each is looked up by itself: a planner would rather join all entries, for it
-- takes :cap, which is mostly far away, for what there is
SELECT 0, e."key", e."metadata" FROM ({ranges}) r
LEFT JOIN LATERAL (
    SELECT e."key", e."metadata" FROM {entry} e WHERE e."version" = r."version"
      AND e."key" >= :low AND e."key" < :high
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) LIMIT 1) e ON true
UNION ALL
SELECT 1, e."key", e."metadata" FROM ({waiting}) w
LEFT JOIN LATERAL (
    SELECT e."key", e."metadata" FROM {entry} e WHERE e."version" = w."version"
      AND e."key" >= :low AND e."key" < :high
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) LIMIT 1) e ON true

-- name: indexed_metadata_at
-- for: the same as of a moment
SELECT 0, e."key", e."metadata" FROM ({ranges}) r
LEFT JOIN LATERAL (
    SELECT e."key", e."metadata" FROM {entry} e WHERE e."version" = r."version"
      AND e."key" >= :low AND e."key" < :high
      AND e."version" <= :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) LIMIT 1) e ON true
UNION ALL
SELECT 1, e."key", e."metadata" FROM ({waiting}) w
LEFT JOIN LATERAL (
    SELECT e."key", e."metadata" FROM {entry} e WHERE e."version" = w."version"
      AND e."key" >= :low AND e."key" < :high
      AND e."version" <= :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) LIMIT 1) e ON true
UNION ALL
SELECT 2, e."key", e."metadata" FROM (
    SELECT "version" FROM {entry_history} WHERE "end_version" > :version LIMIT :cap) h
LEFT JOIN LATERAL (
    SELECT e."key", e."metadata" FROM {entry_history} e WHERE e."version" = h."version"
      AND e."key" >= :low AND e."key" < :high
      AND e."version" <= :version
      AND (e."expires_at" IS NULL OR e."expires_at" > :now) LIMIT 1) e ON true

-- name: waiting_metadata
-- for: the versions that wait for the metadata index, up to :cap
SELECT * FROM (
    SELECT q."version" FROM {metadata_queue} q
    UNION ALL SELECT unnest(b."versions") FROM {queued_batch} b WHERE b."queue" = 'metadata'
) w LIMIT :cap

-- name: lock_metadata_index
-- for: filling the index, and dropping what has ended: one at a time, else terms of an entry that ends
-- meanwhile would come after they were dropped
SELECT 1 FROM {lakebed_meta} WHERE "name" = 'metadata_indexed' FOR NO KEY UPDATE {wait}

-- name: take_ended_metadata
-- for: dropping the terms of versions that have ended: the next ones, and their notes
DELETE FROM {metadata_ended} WHERE ("key", "version") IN (
    SELECT "key", "version" FROM {metadata_ended} ORDER BY "version" LIMIT :page)
RETURNING "key", "version", "metadata"

-- name: drop_metadata_terms
-- for: the same: their terms, all at once
DELETE FROM {entry_metadata} m
USING unnest(:paths::text[], :values::bytea[], :versions::bigint[]) t ("path", "value", "version")
WHERE m."path" = t."path" COLLATE "C" AND m."value" = t."value" AND m."version" = t."version"
  AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."version" = t."version")

-- name: batch_described
-- for: noting the rows that a batch replaces of which the metadata index may hold terms: those that do
-- not wait for it
WITH unread AS (
    DELETE FROM {metadata_queue} q USING {staged} s WHERE q."version" = s."old_version"
    RETURNING q."version"
)
INSERT INTO {metadata_ended} ("key", "version", "metadata")
SELECT e."key", e."version", e."metadata" FROM {staged} s JOIN {entry} e ON e."version" = s."old_version"
WHERE e."metadata" <> '{}' AND NOT EXISTS (SELECT 1 FROM unread u WHERE u."version" = e."version")
ON CONFLICT ("key", "version") DO NOTHING

-- name: metadata_tail
-- for: taking entries from the queue of the metadata index
WITH taken AS (
    DELETE FROM {metadata_queue} WHERE "version" IN (
        SELECT "version" FROM {metadata_queue} WHERE :indexed >= 0
        ORDER BY "version" LIMIT :page FOR UPDATE SKIP LOCKED)
    RETURNING "version"
), batch AS (
    DELETE FROM {queued_batch} WHERE "id" IN (
        SELECT "id" FROM {queued_batch} WHERE "queue" = 'metadata' LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING "versions"
)
SELECT t."version", coalesce(e."metadata", '{}')
FROM (SELECT "version" FROM taken UNION ALL SELECT unnest("versions") FROM batch) t
LEFT JOIN {entry} e ON e."version" = t."version" ORDER BY 1

-- name: scan_packed_versions
-- for: sql: the same as scan_versions, as few rows of many: the driver takes most of the time for rows
SELECT string_agg(int8send("version"), ''::bytea) FROM {entry}
WHERE "version" >= :first AND "version" <= :last
    AND ("expires_at" IS NULL OR "expires_at" > :now)
GROUP BY "version" / 1000000

-- name: count_standing
-- for: sql: no number tells, since an entry may be committed after others of higher versions
SELECT NULL
