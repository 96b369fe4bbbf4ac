-- From version 1 to 2: search by segments in place of the tables of words. All entries wait for one;
-- the first search or maintenance builds them.

-- (Each statement commits by itself here, and may be repeated.)

DROP TABLE IF EXISTS lakebed_entry_text;

DROP TABLE IF EXISTS lakebed_text_unread;

-- Versions with metadata that have ended and whose terms the index may hold, until these are dropped.
CREATE TABLE IF NOT EXISTS {metadata_ended} (
    "key" VARBINARY(1024) NOT NULL,
    "version" BIGINT NOT NULL,
    "metadata" LONGTEXT NOT NULL,
    PRIMARY KEY ("key", "version")
) {table_options};

-- Search: segments with the words, metadata and vectors of entries, each a file in the storage or
-- inline. `ends`: pairs of a version and what ended it, eight bytes each, of documents of earlier
-- segments. A row may have nothing else.
CREATE TABLE IF NOT EXISTS {segment} (
    "id" VARCHAR(64) NOT NULL PRIMARY KEY,
    "content_hash" BINARY(32),
    "byte_size" BIGINT NOT NULL,
    "documents" BIGINT NOT NULL,
    "inline_value" LONGBLOB,
    "uri" VARCHAR(700),
    "ends" LONGBLOB NOT NULL
) {table_options};

-- Versions that wait for a segment although lakebed_meta says that these reach further.
CREATE TABLE IF NOT EXISTS {segment_queue} (
    "version" BIGINT NOT NULL PRIMARY KEY
) {table_options};

-- Documents of segments that have ended since: by which version, 0 if no moment sees them, -1 if they
-- were purged.
CREATE TABLE IF NOT EXISTS {segment_ended} (
    "version" BIGINT NOT NULL PRIMARY KEY,
    "end_version" BIGINT NOT NULL
) {table_options};

-- What the index holds of versions that are gone was not noted, so it is filled anew.
DELETE FROM {entry_metadata};
UPDATE {lakebed_meta} SET "value" = '0' WHERE "name" = 'metadata_indexed';

DELETE FROM {lakebed_meta} WHERE "name" IN ('text_indexed', 'text_rows', 'text_tokens');

INSERT IGNORE INTO {lakebed_meta} ("name", "value") VALUES
    ('segments_changed', '0'), ('segments_indexed', '0'), ('segments_purged', '0'),
    ('objects_moved', '0');
