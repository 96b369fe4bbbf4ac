-- What MySQL and MariaDB say their own way about the table of words.

-- name: add_word
-- for: filling the index
INSERT INTO {entry_text} ("word", "version", "count", "length")
VALUES (:word, :version, :count, :length) ON DUPLICATE KEY UPDATE "count" = VALUES("count")

-- name: add_unread
-- for: passing over an entry whose text cannot be read now
INSERT INTO {text_unread} ("version") VALUES (:version) ON DUPLICATE KEY UPDATE "version" = "version"
