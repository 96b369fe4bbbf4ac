-- From version 1 to 2: search by segments in place of the tables of words. All entries wait for one;
-- the first search or maintenance builds them.

DROP TABLE {schema}."entry_text";

DROP TABLE {schema}."text_unread";

-- Versions with metadata that have ended and whose terms the index may hold, until these are dropped.
CREATE TABLE {metadata_ended} (
    "key" text COLLATE "C" NOT NULL,
    "version" bigint NOT NULL,
    "metadata" text COLLATE "C" NOT NULL,
    PRIMARY KEY ("version", "key")
);

-- Search: segments with the words, metadata and vectors of entries, each a file in the storage or
-- inline. "ends": pairs of a version and what ended it, eight bytes each, of documents of earlier
-- segments. A row may have nothing else.
CREATE TABLE {segment} (
    "id" text COLLATE "C" NOT NULL PRIMARY KEY,
    "content_hash" bytea,
    "byte_size" bigint NOT NULL,
    "documents" bigint NOT NULL,
    "inline_value" bytea,
    "uri" text COLLATE "C",
    "ends" bytea NOT NULL
);

-- Versions that wait for a segment. A store puts its own here, in place of the one that it replaces.
CREATE TABLE {segment_queue} (
    "version" bigint NOT NULL PRIMARY KEY
);

-- Documents of segments that have ended since: by which version, 0 if no moment sees them, -1 if they
-- were purged. (Some of them no segment holds.)
CREATE TABLE {segment_ended} (
    "version" bigint NOT NULL PRIMARY KEY,
    "end_version" bigint NOT NULL
);

-- What the index holds of versions that are gone was not noted, so it is filled anew.
DELETE FROM {entry_metadata};
DELETE FROM {metadata_queue};
DELETE FROM {queued_batch};
ALTER TABLE {queued_batch} ALTER COLUMN "versions" SET STORAGE EXTERNAL;

INSERT INTO {queued_batch} ("queue", "versions")
SELECT 'text', array_agg(v."version") FROM (
    SELECT "version", row_number() OVER (ORDER BY "version") / 2000 AS "part" FROM (
        SELECT "version" FROM {entry} UNION ALL SELECT "version" FROM {entry_history}) a) v
GROUP BY v."part";

INSERT INTO {queued_batch} ("queue", "versions")
SELECT 'metadata', array_agg(v."version") FROM (
    SELECT "version", row_number() OVER (ORDER BY "version") / 2000 AS "part"
    FROM {entry} WHERE "metadata" <> '{}') v
GROUP BY v."part";

DELETE FROM {lakebed_meta} WHERE "name" IN ('text_indexed', 'text_rows', 'text_tokens');

INSERT INTO {lakebed_meta} ("name", "value") VALUES
    ('segments_changed', '0'), ('segments_indexed', '0'), ('segments_purged', '0'),
    ('objects_moved', '0');
