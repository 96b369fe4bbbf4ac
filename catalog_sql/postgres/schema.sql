-- The schema of a Lakebed catalog in Postgres, version 4.
-- Times are microseconds since 1970-01-01 UTC. Keys compare by their bytes.
-- Writers hold the lake's advisory lock shared while they take references to objects, collectors and
-- purges hold it alone while they remove objects: so no foreign key has to check each reference.
-- (Tidying removes some beside writers: who reuses an object locks its row, and so does tidying.)

-- CREATE SCHEMA IF NOT EXISTS takes CREATE on the database, even where the schema is there.
DO $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {schema_text}) THEN
        CREATE SCHEMA {schema};
    END IF;
END $$;

CREATE TABLE {lakebed_meta} (
    "name" text COLLATE "C" NOT NULL PRIMARY KEY,
    "value" text NOT NULL
);

-- Versions order snapshots, not commits: docs/design/postgres.md.
CREATE SEQUENCE {schema}."version";

CREATE TABLE {pack} (
    "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "uri" text COLLATE "C" NOT NULL UNIQUE,
    "byte_size" bigint NOT NULL,
    "live" bigint NOT NULL,
    "dead" bigint NOT NULL
);

CREATE TABLE {object} (
    "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "content_hash" bytea NOT NULL,
    "format" text COLLATE "C" NOT NULL,
    "byte_size" bigint NOT NULL,
    "inline_value" bytea,
    "uri" text COLLATE "C",
    "pack_id" bigint REFERENCES {pack} ("id"),
    "position" text COLLATE "C",
    "created_at" bigint NOT NULL,
    UNIQUE ("content_hash", "format"),
    CHECK (num_nonnulls("inline_value", "uri", "pack_id") = 1)
);
CREATE INDEX "object_pack" ON {object} ("pack_id") WHERE "pack_id" IS NOT NULL;

CREATE TABLE {entry} (
    "key" text COLLATE "C" NOT NULL PRIMARY KEY,
    "version" bigint NOT NULL UNIQUE,
    "object_id" bigint NOT NULL,
    "metadata" text COLLATE "C" NOT NULL,
    "expires_at" bigint,
    "created_at" bigint NOT NULL,
    "updated_at" bigint NOT NULL
);
CREATE INDEX "entry_object" ON {entry} ("object_id");
CREATE INDEX "entry_expires" ON {entry} ("expires_at") WHERE "expires_at" IS NOT NULL;
CREATE INDEX "entry_bare" ON {entry} ("version") WHERE "metadata" = '{}';

CREATE TABLE {entry_history} (
    "key" text COLLATE "C" NOT NULL,
    "version" bigint NOT NULL PRIMARY KEY,
    "end_version" bigint NOT NULL,
    "ended_at" bigint NOT NULL,
    "object_id" bigint NOT NULL,
    "metadata" text COLLATE "C" NOT NULL,
    "expires_at" bigint,
    "created_at" bigint NOT NULL,
    "updated_at" bigint NOT NULL
);
CREATE INDEX "entry_history_key" ON {entry_history} ("key", "version");
CREATE INDEX "entry_history_end" ON {entry_history} ("end_version");
CREATE INDEX "entry_history_object" ON {entry_history} ("object_id");
CREATE INDEX "entry_history_expires" ON {entry_history} ("expires_at")
    WHERE "expires_at" IS NOT NULL;

CREATE TABLE {snapshot} (
    "id" text COLLATE "C" NOT NULL PRIMARY KEY,
    "name" text COLLATE "C" NOT NULL UNIQUE,
    "version" bigint NOT NULL,
    "message" text,
    "author" text,
    "created_at" bigint NOT NULL,
    "purged_at" bigint
);
CREATE INDEX "snapshot_version" ON {snapshot} ("version");

CREATE TABLE {pending} (
    "uri" text COLLATE "C" NOT NULL PRIMARY KEY,
    "lease" bigint NOT NULL
);

CREATE TABLE {trash} (
    "uri" text COLLATE "C" NOT NULL PRIMARY KEY,
    "since" bigint NOT NULL
);

-- Objects that lost a reference and may have none left.
CREATE TABLE {candidate} (
    "object_id" bigint NOT NULL PRIMARY KEY
);

-- Narrows filters: path and order-preserving value of each metadata leaf, by the entry's version, and
-- a hash of all its paths (rows of version 0 say of which). A store with metadata queues its version; the
-- next filter moves it from the queue to the index, in one transaction. What it holds of others is noted
-- below.
CREATE TABLE {entry_metadata} (
    "path" text COLLATE "C" NOT NULL,
    "value" bytea NOT NULL,
    "version" bigint NOT NULL,
    PRIMARY KEY ("path", "value", "version")
);
CREATE TABLE {metadata_queue} (
    "version" bigint NOT NULL PRIMARY KEY
);

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

-- One row for each connection that has written: its last commit. Where the answer to a commit was
-- lost, the row tells whether it happened; a closed row refuses a commit that arrives later.
CREATE TABLE {writer} (
    "id" bigint NOT NULL PRIMARY KEY,
    "token" bigint NOT NULL,
    "closed" boolean NOT NULL,
    "seen" bigint NOT NULL,
    "version" bigint,
    "created" boolean,
    "deduplicated" boolean,
    "expires_at" bigint,
    "created_at" bigint,
    "updated_at" bigint
);

-- What a batch puts into these two queues, 2,000 versions at most in a row: a row for each would take
-- a fifth of the batch's time.
CREATE TABLE {queued_batch} (
    "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "queue" text COLLATE "C" NOT NULL CHECK ("queue" IN ('metadata', 'text')),
    "versions" bigint[] NOT NULL
);
-- Not compressed: that would take a twelfth of the server's time for a batch.
ALTER TABLE {queued_batch} ALTER COLUMN "versions" SET STORAGE EXTERNAL;

-- Tables that grow: the objects, one for each append, that a table is made of. The table itself is an
-- object too, a list of them; a part lives as long as a table that lists it.
CREATE TABLE {part} (
    "object_id" bigint NOT NULL,
    "part_id" bigint NOT NULL,
    PRIMARY KEY ("object_id", "part_id")
);
CREATE INDEX "part_part" ON {part} ("part_id");
