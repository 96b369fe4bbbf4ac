-- The schema of a Lakebed catalog in any other database that SQLAlchemy knows, version 4.
-- Times are microseconds since 1970-01-01 UTC. Keys compare by their bytes, which the executor
-- makes sure of. No foreign keys: one writer at a time holds the lake's lock.

CREATE SEQUENCE lakebed_pack_id;
CREATE SEQUENCE lakebed_object_id;

CREATE TABLE {lakebed_meta} (
    "name" VARCHAR NOT NULL PRIMARY KEY,
    "value" VARCHAR NOT NULL
);

CREATE TABLE {pack} (
    "id" BIGINT NOT NULL DEFAULT nextval('lakebed_pack_id') PRIMARY KEY,
    "uri" VARCHAR NOT NULL UNIQUE,
    "byte_size" BIGINT NOT NULL,
    "live" BIGINT NOT NULL,
    "dead" BIGINT NOT NULL
);

CREATE TABLE {object} (
    "id" BIGINT NOT NULL DEFAULT nextval('lakebed_object_id') PRIMARY KEY,
    "content_hash" BYTEA NOT NULL,
    "format" VARCHAR NOT NULL,
    "byte_size" BIGINT NOT NULL,
    "inline_value" BYTEA,
    "uri" VARCHAR,
    "pack_id" BIGINT,
    "position" VARCHAR,
    "created_at" BIGINT NOT NULL,
    UNIQUE ("content_hash", "format")
);

CREATE TABLE {entry} (
    "key" VARCHAR NOT NULL PRIMARY KEY,
    "version" BIGINT NOT NULL,
    "object_id" BIGINT NOT NULL,
    "metadata" VARCHAR NOT NULL,
    "expires_at" BIGINT,
    "created_at" BIGINT NOT NULL,
    "updated_at" BIGINT NOT NULL
);
CREATE INDEX lakebed_entry_version ON {entry} ("version");
CREATE INDEX lakebed_entry_object ON {entry} ("object_id");

CREATE TABLE {entry_history} (
    "key" VARCHAR NOT NULL,
    "version" BIGINT NOT NULL PRIMARY KEY,
    "end_version" BIGINT NOT NULL,
    "ended_at" BIGINT NOT NULL,
    "object_id" BIGINT NOT NULL,
    "metadata" VARCHAR NOT NULL,
    "expires_at" BIGINT,
    "created_at" BIGINT NOT NULL,
    "updated_at" BIGINT NOT NULL
);
CREATE INDEX lakebed_entry_history_key ON {entry_history} ("key");
CREATE INDEX lakebed_entry_history_object ON {entry_history} ("object_id");

CREATE TABLE {snapshot} (
    "id" VARCHAR NOT NULL PRIMARY KEY,
    "name" VARCHAR NOT NULL UNIQUE,
    "version" BIGINT NOT NULL,
    "message" VARCHAR,
    "author" VARCHAR,
    "created_at" BIGINT NOT NULL,
    "purged_at" BIGINT
);

CREATE TABLE {pending} (
    "uri" VARCHAR NOT NULL PRIMARY KEY,
    "lease" BIGINT NOT NULL
);

CREATE TABLE {trash} (
    "uri" VARCHAR NOT NULL PRIMARY KEY,
    "since" BIGINT NOT NULL
);

-- Objects that lost a reference and may have none left.
CREATE TABLE {candidate} (
    "object_id" BIGINT NOT NULL PRIMARY KEY
);

-- Narrows filters: path and order-preserving value of each metadata leaf, by the entry's version.
-- Filled up to the version that lakebed_meta names; what it holds of others is noted below.
CREATE TABLE {entry_metadata} (
    "path" VARCHAR NOT NULL,
    "value" BYTEA NOT NULL,
    "version" BIGINT NOT NULL,
    PRIMARY KEY ("path", "value", "version")
);

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

-- The last commit of each connection, noted in its own transaction: should the answer be lost, it
-- tells whether the commit happened.
CREATE TABLE {writer} (
    "id" BIGINT NOT NULL PRIMARY KEY,
    "token" BIGINT NOT NULL,
    "seen" BIGINT NOT NULL
);

-- Tables that grow: the objects, one for each append, that a table is made of. The table itself is an
-- object too, a list of them; a part lives as long as a table that lists it.
CREATE TABLE {part} (
    "object_id" BIGINT NOT NULL,
    "part_id" BIGINT NOT NULL,
    PRIMARY KEY ("object_id", "part_id")
);
CREATE INDEX lakebed_part_part ON {part} ("part_id");
