-- Text search, in the SQL that every catalog understands. The index proper is the dialect's: its
-- folder has the queries that fill it and look words up. {source} and {condition} say where entries
-- that it lacks are found: {entry} above the version that it reaches, entries whose text could not
-- be read, and, as of a moment, {entry_history}.

-- name: text_counters
-- for: how far the index reaches, how many documents and tokens it holds, and what it passed over
SELECT (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'text_indexed'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'text_rows'),
       (SELECT CAST("value" AS {integer}) FROM {lakebed_meta} WHERE "name" = 'text_tokens'),
       (SELECT count(*) FROM {text_unread})

-- name: text_sizes
-- for: cutting entries into pages of bounded size, in version order; is the value in the storage?
SELECT e."version", o."byte_size", o."inline_value" IS NULL FROM {source} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" > :after AND e."version" <= :upto {condition}
  AND {unindexed}e."key" >= :low AND {unindexed}e."key" < :high
  AND ({unindexed}e."expires_at" IS NULL OR {unindexed}e."expires_at" > :now)
ORDER BY e."version" LIMIT :page

-- name: text_rows
-- for: one such page
SELECT {entry_columns}
FROM {source} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" > :after AND e."version" <= :upto {condition}
  AND {unindexed}e."key" >= :low AND {unindexed}e."key" < :high
  AND ({unindexed}e."expires_at" IS NULL OR {unindexed}e."expires_at" > :now)
ORDER BY e."version"

-- name: text_versions
-- for: which entries of a page are still there
SELECT "version" FROM {entry} WHERE "version" > :after AND "version" <= :upto

-- name: entry_table
-- for: entries as a source
{entry}

-- name: history_table
-- for: history as a source
{entry_history}

-- name: is_unread
-- for: the condition of entries whose text could not be read
AND e."version" IN (SELECT "version" FROM {text_unread})

-- name: is_seen
-- for: the condition of history that a moment sees
AND e."end_version" > :version

-- name: add_unread
-- for: passing over an entry whose text cannot be read now
INSERT INTO {text_unread} ("version") VALUES (:version) ON CONFLICT ("version") DO NOTHING

-- name: settle_unread
-- for: its text has been read; nothing deleted means that somebody else was first
DELETE FROM {text_unread} WHERE "version" = :version

-- name: drop_stale_unread
-- for: maintenance: entries that are gone
DELETE FROM {text_unread} WHERE "version" NOT IN (SELECT "version" FROM {entry})

-- name: clear_unread
-- for: rebuilding the index: all entries are read anew
DELETE FROM {text_unread}

-- name: count_indexed
-- for: how many of the index's documents are of entries that are there
SELECT count(*) FROM {entry} WHERE "version" <= :indexed

-- name: get_versions
-- for: the entries of hits
SELECT {entry_columns}
FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."version" IN ({versions})

-- The index as a table of words, for databases whose own would drop some. Ranked by BM25 as FTS5
-- computes it; {words} are the query's.

-- name: add_word
-- for: filling the index
INSERT INTO {entry_text} ("word", "version", "count", "length")
VALUES (:word, :version, :count, :length)
ON CONFLICT ("word", "version") DO UPDATE SET "count" = excluded."count"

-- name: clear_text
-- for: rebuilding the index
DELETE FROM {entry_text}

-- name: search_top
-- for: matches, the best first; equal ones follow in any order
SELECT -round(sum(w."weight" * m."count" * 2.2E0 / (m."count" + 1.2E0 *
           (0.25E0 + 0.75E0 * m."length" / greatest(c."tokens" / greatest(c."rows", 1E0), 1E0)))), 9),
       e."key", e."version", e."metadata"
FROM (SELECT r."rows", t."tokens" FROM
        (SELECT CAST("value" AS {double}) AS "rows" FROM {lakebed_meta} WHERE "name" = 'text_rows') r,
        (SELECT CAST("value" AS {double}) AS "tokens" FROM {lakebed_meta} WHERE "name" = 'text_tokens') t) c
CROSS JOIN (
    SELECT n."word", coalesce(greatest(ln((d."rows" - n."having" + 0.5E0)
                                          / (n."having" + 0.5E0)), 1E-6), 1E-6) AS "weight"
    FROM (SELECT "word", count(*) AS "having" FROM {entry_text}
          WHERE "word" IN ({words}) GROUP BY "word") n
    CROSS JOIN (SELECT CAST("value" AS {double}) AS "rows" FROM {lakebed_meta} WHERE "name" = 'text_rows') d
) w
JOIN {entry_text} m ON m."word" = w."word"
JOIN {entry} e ON e."version" = m."version"
WHERE e."version" <= :version AND e."key" >= :low AND e."key" < :high
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {narrowing}
GROUP BY e."key", e."version", e."metadata"
ORDER BY 1

-- name: search_total
-- for: how many match
SELECT count(DISTINCT e."version")
FROM {entry_text} m JOIN {entry} e ON e."version" = m."version"
WHERE m."word" IN ({words}) AND e."version" <= :version
  AND e."key" >= :low AND e."key" < :high
  AND (e."expires_at" IS NULL OR e."expires_at" > :now)

-- name: text_frequency
-- for: in how many documents a word is
SELECT count(*) FROM {entry_text} m WHERE m."word" IN ({words})
