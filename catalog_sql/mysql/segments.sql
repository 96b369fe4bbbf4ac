-- What MySQL and MariaDB say their own way.

-- name: add_ended
-- for: an entry that a segment holds is replaced or deleted
INSERT INTO {segment_ended} ("version", "end_version") VALUES (:version, :end_version)
ON DUPLICATE KEY UPDATE "end_version" = VALUES("end_version")

-- name: purge_ended
-- for: purge: no moment sees these versions any more
INSERT INTO {segment_ended} ("version", "end_version")
SELECT "version", -1 FROM {entry} WHERE "key" >= :low AND "key" < :high
UNION ALL
SELECT "version", -1 FROM {entry_history} WHERE "key" >= :low AND "key" < :high
ON DUPLICATE KEY UPDATE "end_version" = -1

-- name: add_queued
-- for: an entry that waits although the segments reach further
INSERT INTO {segment_queue} ("version") VALUES (:version)
ON DUPLICATE KEY UPDATE "version" = VALUES("version")
