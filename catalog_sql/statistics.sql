-- What `stats` estimates where counting would take too long: in a dialect that has `count_rows` or
-- `estimate_rows`.

-- name: count_some
-- for: stats: whether it can count: objects, entries and history, each up to :cap
SELECT (SELECT count(*) FROM (SELECT 1 FROM {object} LIMIT :cap) o),
       (SELECT count(*) FROM (SELECT 1 FROM {entry} LIMIT :cap) e),
       (SELECT count(*) FROM (SELECT 1 FROM {entry_history} LIMIT :cap) h)

-- name: hash_at
-- for: stats: hashes are spread evenly, so the nth smallest tells how many there are
SELECT "content_hash" FROM {object} ORDER BY "content_hash", "format" LIMIT 1 OFFSET :place

-- name: sample_objects
-- for: stats: those with the smallest hashes, which have nothing else in common: their sizes, whether
-- they lie inline, and how many visible entries refer to each, counted up to 100
SELECT o."byte_size", o."inlined",
       (SELECT count(*) FROM (
            SELECT 1 FROM {entry} e WHERE e."object_id" = o."id"
            AND (e."expires_at" IS NULL OR e."expires_at" > :now) LIMIT 100) some_entries)
FROM (SELECT "id", "byte_size", CASE WHEN "inline_value" IS NULL THEN 0 ELSE 1 END AS "inlined"
      FROM {object} ORDER BY "content_hash", "format" LIMIT :page) o

-- name: count_others
-- for: stats: expired entries up to :cap, packs and snapshots
SELECT (SELECT count(*) FROM (
            SELECT 1 FROM {entry} WHERE "expires_at" <= :now LIMIT :cap) expired_entries),
       (SELECT count(*) FROM {pack}),
       (SELECT count(*) FROM {snapshot})
