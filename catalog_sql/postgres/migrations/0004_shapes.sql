-- From version 3 to 4: the metadata index tells which entries lack a field. It is filled anew.

CREATE INDEX "entry_bare" ON {entry} ("version") WHERE "metadata" = '{}';

TRUNCATE {entry_metadata}, {metadata_queue}, {metadata_ended};
DELETE FROM {queued_batch} WHERE "queue" = 'metadata';

INSERT INTO {queued_batch} ("queue", "versions")
SELECT 'metadata', array_agg(v."version") FROM (
    SELECT "version", row_number() OVER (ORDER BY "version") / 2000 AS "part"
    FROM {entry} WHERE "metadata" <> '{}') v
GROUP BY v."part";
