-- name: count_rows
-- for: stats: entries and history, which SQLite counts by the pages of an index, 11 ms a million
SELECT (SELECT count(*) FROM {entry}), (SELECT count(*) FROM {entry_history})
