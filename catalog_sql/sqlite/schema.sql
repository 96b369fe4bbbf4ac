-- The schema of a Lakebed catalog in SQLite, version 4.
-- Times are microseconds since 1970-01-01 UTC. In SQLite the version is the row's own number, so an
-- index by version costs nothing, and rows written together lie together.

CREATE TABLE lakebed_meta (
    "name" TEXT NOT NULL PRIMARY KEY,
    "value" NOT NULL
) WITHOUT ROWID;

CREATE TABLE pack (
    "id" INTEGER PRIMARY KEY,
    "uri" TEXT NOT NULL UNIQUE,
    "byte_size" INTEGER NOT NULL,
    "live" INTEGER NOT NULL,
    "dead" INTEGER NOT NULL
);

CREATE TABLE object (
    "id" INTEGER PRIMARY KEY,
    "content_hash" BLOB NOT NULL,
    "format" TEXT NOT NULL,
    "byte_size" INTEGER NOT NULL,
    "inline_value" BLOB,
    "uri" TEXT,
    "pack_id" INTEGER REFERENCES pack ("id"),
    "position" TEXT,
    "created_at" INTEGER NOT NULL,
    UNIQUE ("content_hash", "format"),
    CHECK (("inline_value" IS NOT NULL) + ("uri" IS NOT NULL) + ("pack_id" IS NOT NULL) = 1)
);
CREATE INDEX object_pack ON object ("pack_id") WHERE "pack_id" IS NOT NULL;

CREATE TABLE entry (
    "key" TEXT NOT NULL UNIQUE,
    "version" INTEGER PRIMARY KEY,
    "object_id" INTEGER NOT NULL REFERENCES object ("id"),
    "metadata" TEXT NOT NULL,
    "expires_at" INTEGER,
    "created_at" INTEGER NOT NULL,
    "updated_at" INTEGER NOT NULL
);
CREATE INDEX entry_object ON entry ("object_id");
CREATE INDEX entry_expires ON entry ("expires_at") WHERE "expires_at" IS NOT NULL;
CREATE INDEX entry_bare ON entry ("metadata") WHERE "metadata" = '{}';

CREATE TABLE entry_history (
    "key" TEXT NOT NULL,
    "version" INTEGER PRIMARY KEY,
    "end_version" INTEGER NOT NULL,
    "ended_at" INTEGER NOT NULL,
    "object_id" INTEGER NOT NULL REFERENCES object ("id"),
    "metadata" TEXT NOT NULL,
    "expires_at" INTEGER,
    "created_at" INTEGER NOT NULL,
    "updated_at" INTEGER NOT NULL
);
CREATE INDEX entry_history_key ON entry_history ("key", "version");
CREATE INDEX entry_history_end ON entry_history ("end_version");
CREATE INDEX entry_history_object ON entry_history ("object_id");
CREATE INDEX entry_history_expires ON entry_history ("expires_at") WHERE "expires_at" IS NOT NULL;

CREATE TABLE snapshot (
    "id" TEXT NOT NULL PRIMARY KEY,
    "name" TEXT NOT NULL UNIQUE,
    "version" INTEGER NOT NULL,
    "message" TEXT,
    "author" TEXT,
    "created_at" INTEGER NOT NULL,
    "purged_at" INTEGER
) WITHOUT ROWID;
CREATE INDEX snapshot_version ON snapshot ("version");

CREATE TABLE pending (
    "uri" TEXT NOT NULL PRIMARY KEY,
    "lease" INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE trash (
    "uri" TEXT NOT NULL PRIMARY KEY,
    "since" INTEGER NOT NULL
) WITHOUT ROWID;

-- Objects that lost a reference and may have none left.
CREATE TABLE candidate (
    "object_id" INTEGER PRIMARY KEY
);

-- Narrows filters: path and order-preserving value of each metadata leaf, by the entry's version, and
-- a hash of all its paths (rows of version 0 say of which). Filled up to the version that lakebed_meta
-- names; what it holds of others is noted below.
CREATE TABLE entry_metadata (
    "path" TEXT NOT NULL,
    "value" BLOB NOT NULL,
    "version" INTEGER NOT NULL,
    PRIMARY KEY ("path", "value", "version")
) WITHOUT ROWID;

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

-- Tables that grow: the objects, one for each append, that a table is made of. The table itself is an
-- object too, a list of them; a part lives as long as a table that lists it.
CREATE TABLE part (
    "object_id" INTEGER NOT NULL REFERENCES object ("id"),
    "part_id" INTEGER NOT NULL REFERENCES object ("id"),
    PRIMARY KEY ("object_id", "part_id")
) WITHOUT ROWID;
CREATE INDEX part_part ON part ("part_id");
