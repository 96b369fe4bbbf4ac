-- From version 1 to 2: search by segments in place of the tables of words. All entries wait for one;
-- the first search or maintenance builds them.

DROP TABLE lakebed_entry_text;

DROP TABLE lakebed_text_unread;

-- Versions with metadata that have ended and whose terms the index may hold, until these are dropped.
CREATE TABLE {metadata_ended} (
    "key" VARCHAR NOT NULL,
    "version" BIGINT NOT NULL,
    "metadata" VARCHAR NOT NULL,
    PRIMARY KEY ("key", "version")
);

-- Search: segments with the words, metadata and vectors of entries, each a file in the storage or
-- inline. `ends`: pairs of a version and what ended it, eight bytes each, of documents of earlier
-- segments. A row may have nothing else.
CREATE TABLE {segment} (
    "id" VARCHAR NOT NULL PRIMARY KEY,
    "content_hash" BYTEA,
    "byte_size" BIGINT NOT NULL,
    "documents" BIGINT NOT NULL,
    "inline_value" BYTEA,
    "uri" VARCHAR,
    "ends" BYTEA NOT NULL
);

-- Versions that wait for a segment although lakebed_meta says that these reach further.
CREATE TABLE {segment_queue} (
    "version" BIGINT NOT NULL PRIMARY KEY
);

-- Documents of segments that have ended since: by which version, 0 if no moment sees them, -1 if they
-- were purged.
CREATE TABLE {segment_ended} (
    "version" BIGINT NOT NULL PRIMARY KEY,
    "end_version" BIGINT NOT NULL
);

-- What the index holds of versions that are gone was not noted, so it is filled anew.
DELETE FROM {entry_metadata};
UPDATE {lakebed_meta} SET "value" = '0' WHERE "name" = 'metadata_indexed';

DELETE FROM {lakebed_meta} WHERE "name" IN ('text_indexed', 'text_rows', 'text_tokens');

INSERT INTO {lakebed_meta} ("name", "value") VALUES
    ('segments_changed', '0'), ('segments_indexed', '0'), ('segments_purged', '0'),
    ('objects_moved', '0');
