-- From version 1 to 2: search by segments in place of the tables of words. All entries wait for one;
-- the first search or maintenance builds them.

DROP TABLE entry_text;

DROP TABLE text_unread;

-- Versions with metadata that have ended and whose terms the index may hold, until these are dropped.
CREATE TABLE metadata_ended (
    "key" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "metadata" TEXT NOT NULL,
    PRIMARY KEY ("key", "version")
) WITHOUT ROWID;

-- Search: segments with the words, metadata and vectors of entries, each a file in the storage or
-- inline. `ends`: pairs of a version and what ended it, eight bytes each, of documents of earlier
-- segments. A row may have nothing else.
CREATE TABLE segment (
    "id" TEXT NOT NULL PRIMARY KEY,
    "content_hash" BLOB,
    "byte_size" INTEGER NOT NULL,
    "documents" INTEGER NOT NULL,
    "inline_value" BLOB,
    "uri" TEXT,
    "ends" BLOB NOT NULL
);

-- Versions that wait for a segment although lakebed_meta says that these reach further.
CREATE TABLE segment_queue (
    "version" INTEGER PRIMARY KEY
);

-- Documents of segments that have ended since: by which version, 0 if no moment sees them, -1 if they
-- were purged.
CREATE TABLE segment_ended (
    "version" INTEGER PRIMARY KEY,
    "end_version" INTEGER NOT NULL
);

-- What the index holds of versions that are gone was not noted, so it is filled anew.
DELETE FROM entry_metadata;
UPDATE {lakebed_meta} SET "value" = 0 WHERE "name" = 'metadata_indexed';

DELETE FROM {lakebed_meta} WHERE "name" IN ('text_indexed', 'text_rows', 'text_tokens');

INSERT INTO {lakebed_meta} ("name", "value") VALUES
    ('segments_changed', 0), ('segments_indexed', 0), ('segments_purged', 0),
    ('objects_moved', 0);
