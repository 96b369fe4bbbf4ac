-- Deletes of many rows, said SQLite's way: of a list it finds all rows first and deletes them in a
-- second pass, which takes half as long again as one statement for each.

-- name: delete_objects
-- for: collect: contents that nothing refers to
DELETE FROM {object} WHERE "id" = :value

-- name: delete_trash
-- for: collect: files that are gone
DELETE FROM {trash} WHERE "uri" = :value

-- name: delete_history
-- for: maintenance: forgetting versions
DELETE FROM {entry_history} WHERE "version" = :value
