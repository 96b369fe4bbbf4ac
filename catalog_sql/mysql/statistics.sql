-- name: estimate_rows
-- for: stats: entries and history, as the server's statistics have them
SELECT (SELECT table_rows FROM information_schema.tables
        WHERE table_schema = database() AND table_name = '{entry}'),
       (SELECT table_rows FROM information_schema.tables
        WHERE table_schema = database() AND table_name = '{entry_history}')

-- name: sample_objects
-- for: stats: the same without a limit for each, which cannot be said here
SELECT o."byte_size", o."inlined",
       (SELECT count(*) FROM {entry} e WHERE e."object_id" = o."id"
        AND (e."expires_at" IS NULL OR e."expires_at" > :now))
FROM (SELECT "id", "byte_size", CASE WHEN "inline_value" IS NULL THEN 0 ELSE 1 END AS "inlined"
      FROM {object} ORDER BY "content_hash", "format" LIMIT :page) o
