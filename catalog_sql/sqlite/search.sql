-- Text search with FTS5. A document's row number is the version of its entry, so the documents of
-- replaced and deleted entries find no entry.

-- name: add_text
-- for: filling the index: tokens, parted by spaces
INSERT INTO {entry_text} (rowid, "tokens") VALUES (:version, :tokens)

-- name: clear_text
-- for: rebuilding the index
INSERT INTO {entry_text} ({entry_text}) VALUES ('delete-all')

-- name: search_top
-- for: matches, the best first; FTS5 sorts by rank itself, equal ones follow in any order
SELECT m.rank, e."key", e."version", e."metadata"
FROM {entry_text} m CROSS JOIN {entry} e ON e."version" = m.rowid
WHERE m.{entry_text} MATCH :match AND e."version" <= :version
  AND e."key" >= :low AND e."key" < :high
  AND (e."expires_at" IS NULL OR e."expires_at" > :now) {narrowing}
ORDER BY m.rank

-- name: search_total
-- for: how many match
SELECT count(*)
FROM {entry_text} m CROSS JOIN {entry} e ON e."version" = m.rowid
WHERE m.{entry_text} MATCH :match AND e."version" <= :version
  AND e."key" >= :low AND e."key" < :high
  AND (e."expires_at" IS NULL OR e."expires_at" > :now)

-- name: text_frequency
-- for: in how many documents a word is
SELECT count(*) FROM {entry_text} m WHERE m.{entry_text} MATCH :match
