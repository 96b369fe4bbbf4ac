-- Text search with tsvector and GIN over the analyser's words, which are ASCII letters and digits.
-- Versions are not committed in their order here, so no version says how far the index reaches: each
-- store queues its version in {text_unread}, and a search moves it from there to the index.

-- name: text_counters
-- for: how many documents and tokens the index holds; all that it lacks is queued
SELECT 4611686018427387904,
       (SELECT "value"::bigint FROM {lakebed_meta} WHERE "name" = 'text_rows'),
       (SELECT "value"::bigint FROM {lakebed_meta} WHERE "name" = 'text_tokens'),
       (SELECT count(*) FROM (SELECT 1 FROM {text_unread} LIMIT 1000) capped)
           + (SELECT count(*) FROM {queued_batch} WHERE "queue" = 'text')

-- name: is_unread
-- for: the condition of entries that the index lacks
AND e."version" IN (
    SELECT "version" FROM {text_unread}
    UNION ALL SELECT unnest("versions") FROM {queued_batch} WHERE "queue" = 'text')

-- name: spread_unread
-- for: a row for each entry of some batches, to be settled one by one; how many that were
WITH batches AS (
    DELETE FROM {queued_batch} WHERE "id" IN (
        SELECT "id" FROM {queued_batch} WHERE "queue" = 'text' LIMIT 10 FOR UPDATE SKIP LOCKED)
    RETURNING "versions"
)
INSERT INTO {text_unread} ("version") SELECT unnest("versions") FROM batches
ON CONFLICT ("version") DO NOTHING

-- name: settle_unread
-- for: its text has been read; nothing deleted means that somebody else was first, or that the entry
-- is gone. One at a time, for the sake of the counters
WITH locked AS (SELECT 1 FROM {lakebed_meta} WHERE "name" = 'text_rows' FOR UPDATE)
DELETE FROM {text_unread} USING (SELECT count(*) FROM locked) l WHERE "version" = :version
  AND EXISTS (SELECT 1 FROM {entry} e WHERE e."version" = :version)

-- name: add_text
-- for: filling the index: tokens, parted by spaces; a word's positions are there for their number,
-- and left out where it is one: the whole may take a megabyte
INSERT INTO {entry_text} ("version", "length", "tokens")
SELECT :version, cardinality(string_to_array(:tokens, ' ')),
    (SELECT coalesce(string_agg(
         t."word" || CASE WHEN t."total" > 1 THEN ':' || t."n" ELSE '' END, ' '), '')
     FROM (SELECT w."word", row_number() OVER (PARTITION BY w."word") AS "n",
                  count(*) OVER (PARTITION BY w."word") AS "total"
           FROM unnest(string_to_array(:tokens, ' ')) w("word")) t WHERE t."n" < 256)::tsvector
ON CONFLICT ("version") DO NOTHING

-- name: clear_text
-- for: rebuilding the index
DELETE FROM {entry_text}

-- name: clear_unread
-- for: rebuilding the index: all entries are read anew
INSERT INTO {text_unread} ("version") SELECT "version" FROM {entry}
ON CONFLICT ("version") DO NOTHING

-- name: search_top
-- for: the best matches by BM25, as FTS5 computes it; equal ones follow in any order
WITH words AS (
    SELECT w."word", greatest(
        -- While an index is built anew, another's documents may be there that are not counted yet.
        ln((greatest(c."rows" - n."having", 0) + 0.5) / (n."having" + 0.5)), 1e-6) AS "weight"
    FROM unnest(string_to_array(replace(:match, '"', ''), ' OR ')) w("word"),
        LATERAL (SELECT count(*)::float8 AS "having" FROM {entry_text} t
                 WHERE t."tokens" @@ w."word"::tsquery) n,
        (SELECT greatest("value"::float8, 1) AS "rows" FROM {lakebed_meta}
         WHERE "name" = 'text_rows') c
), average AS (
    SELECT greatest((SELECT "value"::float8 FROM {lakebed_meta} WHERE "name" = 'text_tokens')
        / greatest((SELECT "value"::float8 FROM {lakebed_meta} WHERE "name" = 'text_rows'), 1),
        1) AS "length"
)
SELECT -(SELECT sum(w."weight" * u."count" * 2.2 / (
             u."count" + 1.2 * (0.25 + 0.75 * t."length" / a."length")))
         FROM (SELECT l."lexeme", coalesce(cardinality(l."positions"), 1) AS "count"
               FROM unnest(t."tokens") l("lexeme", "positions", "weights")) u
         JOIN words w ON w."word" = u."lexeme")::float8,
       e."key", e."version", e."metadata"
FROM average a, {entry_text} t JOIN {entry} e ON e."version" = t."version"
WHERE t."tokens" @@ replace(replace(:match, '"', ''), ' OR ', ' | ')::tsquery
  AND e."version" <= :version AND e."key" >= :low AND e."key" < :high
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {narrowing}
ORDER BY 1

-- name: search_total
-- for: how many match
SELECT count(*)
FROM {entry_text} t JOIN {entry} e ON e."version" = t."version"
WHERE t."tokens" @@ replace(replace(:match, '"', ''), ' OR ', ' | ')::tsquery
  AND e."version" <= :version AND e."key" >= :low AND e."key" < :high
  AND (e."expires_at" IS NULL OR e."expires_at" > :now)

-- name: text_frequency
-- for: in how many documents a word is
SELECT count(*) FROM {entry_text} t WHERE t."tokens" @@ replace(:match, '"', '')::tsquery
