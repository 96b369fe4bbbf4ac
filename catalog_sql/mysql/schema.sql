-- The schema of a Lakebed catalog in MySQL or MariaDB, version 4.
-- Times are microseconds since 1970-01-01 UTC. Keys and names are VARBINARY, so that they compare by
-- their bytes. Each CREATE commits by itself here, so lakebed_meta, by which a lake is known, gets
-- its name last, with its version in it.

CREATE TABLE IF NOT EXISTS {pack} (
    "id" BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    "uri" VARCHAR(700) NOT NULL UNIQUE,
    "byte_size" BIGINT NOT NULL,
    "live" BIGINT NOT NULL,
    "dead" BIGINT NOT NULL
) {table_options};

CREATE TABLE IF NOT EXISTS {object} (
    "id" BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    "content_hash" BINARY(32) NOT NULL,
    "format" VARCHAR(64) NOT NULL,
    "byte_size" BIGINT NOT NULL,
    "inline_value" LONGBLOB,
    "uri" VARCHAR(700),
    "pack_id" BIGINT,
    "position" VARCHAR(255),
    "created_at" BIGINT NOT NULL,
    UNIQUE KEY "object_content" ("content_hash", "format"),
    KEY "object_pack" ("pack_id"),
    FOREIGN KEY ("pack_id") REFERENCES {pack} ("id"),
    CHECK (("inline_value" IS NOT NULL) + ("uri" IS NOT NULL) + ("pack_id" IS NOT NULL) = 1)
) {table_options};

CREATE TABLE IF NOT EXISTS {entry} (
    "key" VARBINARY(1024) NOT NULL PRIMARY KEY,
    "version" BIGINT NOT NULL UNIQUE,
    "object_id" BIGINT NOT NULL,
    "metadata" LONGTEXT NOT NULL,
    "expires_at" BIGINT,
    "created_at" BIGINT NOT NULL,
    "updated_at" BIGINT NOT NULL,
    KEY "entry_object" ("object_id"),
    KEY "entry_expires" ("expires_at"),
    FOREIGN KEY ("object_id") REFERENCES {object} ("id")
) {table_options};

CREATE TABLE IF NOT EXISTS {entry_history} (
    "key" VARBINARY(1024) NOT NULL,
    "version" BIGINT NOT NULL PRIMARY KEY,
    "end_version" BIGINT NOT NULL,
    "ended_at" BIGINT NOT NULL,
    "object_id" BIGINT NOT NULL,
    "metadata" LONGTEXT NOT NULL,
    "expires_at" BIGINT,
    "created_at" BIGINT NOT NULL,
    "updated_at" BIGINT NOT NULL,
    KEY "entry_history_key" ("key", "version"),
    KEY "entry_history_end" ("end_version"),
    KEY "entry_history_object" ("object_id"),
    KEY "entry_history_expires" ("expires_at"),
    FOREIGN KEY ("object_id") REFERENCES {object} ("id")
) {table_options};

CREATE TABLE IF NOT EXISTS {snapshot} (
    "id" VARBINARY(300) NOT NULL PRIMARY KEY,
    "name" VARBINARY(300) NOT NULL UNIQUE,
    "version" BIGINT NOT NULL,
    "message" LONGTEXT,
    "author" LONGTEXT,
    "created_at" BIGINT NOT NULL,
    "purged_at" BIGINT,
    KEY "snapshot_version" ("version")
) {table_options};

CREATE TABLE IF NOT EXISTS {pending} (
    "uri" VARCHAR(700) NOT NULL PRIMARY KEY,
    "lease" BIGINT NOT NULL
) {table_options};

CREATE TABLE IF NOT EXISTS {trash} (
    "uri" VARCHAR(700) NOT NULL PRIMARY KEY,
    "since" BIGINT NOT NULL
) {table_options};

-- Objects that lost a reference and may have none left.
CREATE TABLE IF NOT EXISTS {candidate} (
    "object_id" BIGINT NOT NULL PRIMARY KEY
) {table_options};

-- Narrows filters: path and order-preserving value of each metadata leaf, by the entry's version.
-- Filled up to the version that lakebed_meta names; what it holds of others is noted below.
CREATE TABLE IF NOT EXISTS {entry_metadata} (
    "path" VARBINARY(400) NOT NULL,
    "value" VARBINARY(1024) NOT NULL,
    "version" BIGINT NOT NULL,
    PRIMARY KEY ("path", "value", "version")
) {table_options};

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

-- The last commit of each connection, noted in its own transaction: should the answer be lost, it
-- tells whether the commit happened.
CREATE TABLE IF NOT EXISTS {writer} (
    "id" BIGINT NOT NULL PRIMARY KEY,
    "token" BIGINT NOT NULL,
    "seen" BIGINT NOT NULL
) {table_options};

-- Tables that grow: the objects, one for each append, that a table is made of. The table itself is an
-- object too, a list of them; a part lives as long as a table that lists it.
CREATE TABLE IF NOT EXISTS {part} (
    "object_id" BIGINT NOT NULL,
    "part_id" BIGINT NOT NULL,
    PRIMARY KEY ("object_id", "part_id"),
    KEY "part_part" ("part_id"),
    FOREIGN KEY ("object_id") REFERENCES {object} ("id"),
    FOREIGN KEY ("part_id") REFERENCES {object} ("id")
) {table_options};

DROP TABLE IF EXISTS lakebed_meta_new;

CREATE TABLE lakebed_meta_new (
    "name" VARCHAR(100) NOT NULL PRIMARY KEY,
    "value" LONGTEXT NOT NULL
) {table_options};

INSERT INTO lakebed_meta_new ("name", "value") VALUES ('schema_version', '4');

RENAME TABLE lakebed_meta_new TO {lakebed_meta};
