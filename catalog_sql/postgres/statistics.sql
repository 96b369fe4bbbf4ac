-- name: table_sizes
-- for: stats: the pages of the two tables whose rows it estimates, and the rows in a page when the server
-- last looked, none if it never did
SELECT pg_relation_size(c.oid) / current_setting('block_size')::bigint,
       CASE WHEN c.relpages > 0 AND c.reltuples > 0 THEN c.reltuples::float8 / c.relpages END
FROM unnest(ARRAY['{entry}', '{entry_history}']) WITH ORDINALITY t ("name", "place")
JOIN pg_catalog.pg_class c ON c.oid = t."name"::regclass ORDER BY t."place"

-- name: estimate_rows
-- for: stats: where it never did, the rows in so many hundredths of these pages
SELECT (SELECT count(*) FROM {entry} TABLESAMPLE SYSTEM (:of_entries::float8)),
       (SELECT count(*) FROM {entry_history} TABLESAMPLE SYSTEM (:of_history::float8))
