-- The bases of a shared log, noted in the catalog itself, so that all clients know them in order.
-- `state`: 0 announced, not there yet; 1 the newest; 2 replaced. `since`: when it got there.

-- name: make_table
-- for the first base of a lake
CREATE TABLE IF NOT EXISTS lakebed_log_base (
    name TEXT PRIMARY KEY, n INTEGER NOT NULL, byte_size INTEGER NOT NULL, state INTEGER NOT NULL,
    since INTEGER NOT NULL
) WITHOUT ROWID

-- name: has_table
-- whether there has been one
SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'lakebed_log_base'

-- name: newest
-- the newest complete base
SELECT n, byte_size FROM lakebed_log_base WHERE state = 1

-- name: under_way
-- whether somebody makes one
SELECT 1 FROM lakebed_log_base WHERE state = 0 AND since > :since

-- name: announce
-- before a base is put, so that it is found if its maker dies
INSERT INTO lakebed_log_base VALUES (:name, :n, 0, 0, :now)

-- name: replace
-- a newer one is there
UPDATE lakebed_log_base SET state = 2, since = :now WHERE state = 1 AND n < :n

-- name: complete
-- it is there, and the newest unless somebody was faster
UPDATE lakebed_log_base SET n = :n, byte_size = :byte_size, since = :now,
    state = CASE WHEN EXISTS (SELECT 1 FROM lakebed_log_base WHERE state = 1) THEN 2 ELSE 1 END
WHERE name = :name

-- name: due
-- bases that nobody reads any more, or that were never completed
SELECT name FROM lakebed_log_base WHERE state <> 1 AND since <= :since AND name <> :name

-- name: forget
-- a base that is deleted
DELETE FROM lakebed_log_base WHERE name = :name

-- name: others
-- how many bases there are beside the newest
SELECT count(*) FROM lakebed_log_base WHERE state <> 1
