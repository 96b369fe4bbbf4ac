-- Text search with an inverted table, ranked by BM25 as FTS5 computes it. {words} are the query's.

-- name: add_word
-- for: filling the index
INSERT INTO {entry_text} ("word", "version", "count", "length")
VALUES (:word, :version, :count, :length) ON DUPLICATE KEY UPDATE "count" = VALUES("count")

-- name: clear_text
-- for: rebuilding the index
DELETE FROM {entry_text}

-- name: add_unread
-- for: passing over an entry whose text cannot be read now
INSERT INTO {text_unread} ("version") VALUES (:version) ON DUPLICATE KEY UPDATE "version" = "version"

-- name: text_counters
-- for: how far the index reaches, how many documents and tokens it holds, and what it passed over
SELECT (SELECT CAST("value" AS SIGNED) FROM {lakebed_meta} WHERE "name" = 'text_indexed'),
       (SELECT CAST("value" AS SIGNED) FROM {lakebed_meta} WHERE "name" = 'text_rows'),
       (SELECT CAST("value" AS SIGNED) FROM {lakebed_meta} WHERE "name" = 'text_tokens'),
       (SELECT count(*) FROM {text_unread})

-- name: search_top
-- for: matches, the best first; equal ones follow in any order
SELECT -round(sum(w."weight" * m."count" * 2.2E0 / (m."count" + 1.2E0 *
           (0.25E0 + 0.75E0 * m."length" / greatest(c."tokens" / greatest(c."rows", 1E0), 1E0)))), 9),
       e."key", e."version", e."metadata"
FROM (SELECT r."rows", t."tokens" FROM
        (SELECT "value" + 0E0 AS "rows" FROM {lakebed_meta} WHERE "name" = 'text_rows') r,
        (SELECT "value" + 0E0 AS "tokens" FROM {lakebed_meta} WHERE "name" = 'text_tokens') t) c
CROSS JOIN (
    SELECT n."word", coalesce(greatest(ln((d."rows" - n."having" + 0.5E0)
                                          / (n."having" + 0.5E0)), 1E-6), 1E-6) AS "weight"
    FROM (SELECT "word", count(*) AS "having" FROM {entry_text}
          WHERE "word" IN ({words}) GROUP BY "word") n
    CROSS JOIN (SELECT "value" + 0E0 AS "rows" FROM {lakebed_meta} WHERE "name" = 'text_rows') d
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
