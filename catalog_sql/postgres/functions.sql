-- The functions of a catalog in Postgres; run after the schema and after each migration.

CREATE OR REPLACE FUNCTION {schema}."now_micros"() RETURNS bigint
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
$$;

-- Marks a commit; the last statement of its transaction. LB003: the row is closed.
CREATE OR REPLACE FUNCTION {schema}."note_commit"(p_writer bigint, p_token bigint) RETURNS void
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO {writer} AS w ("id", "token", "closed", "seen")
    VALUES (p_writer, p_token, false, {schema}."now_micros"())
    ON CONFLICT ("id") DO UPDATE SET "token" = excluded."token", "seen" = excluded."seen"
    WHERE NOT w."closed";
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the writer is closed' USING ERRCODE = 'LB003';
    END IF;
END
$$;

-- Names content: a new object, or one that is there. LB002: it is not there, and no
-- bytes were given.
CREATE OR REPLACE FUNCTION {schema}."name_object"(
    p_hash bytea, p_format text, p_size bigint, p_inline bytea, p_uri text, p_pack bigint,
    p_position text, p_now bigint, OUT object_id bigint, OUT is_new boolean, OUT uri text,
    OUT "position" text)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
BEGIN
    LOOP
        is_new := false;
        IF p_inline IS NOT NULL OR p_uri IS NOT NULL OR p_pack IS NOT NULL THEN
            INSERT INTO {object} ("content_hash", "format", "byte_size", "inline_value", "uri",
                                  "pack_id", "position", "created_at")
            VALUES (p_hash, p_format, p_size, p_inline, p_uri, p_pack, p_position, p_now)
            ON CONFLICT ("content_hash", "format") DO NOTHING RETURNING "id" INTO object_id;
            is_new := FOUND;
        END IF;
        EXIT WHEN is_new;
        -- Locked, so that no tidying takes it before what is about to refer to it can be seen.
        SELECT o."id", coalesce(o."uri", p."uri"), o."position" INTO object_id, uri, "position"
        FROM {object} o LEFT JOIN {pack} p ON p."id" = o."pack_id"
        WHERE o."content_hash" = p_hash AND o."format" = p_format FOR KEY SHARE OF o;
        EXIT WHEN FOUND;
        IF p_inline IS NULL AND p_uri IS NULL AND p_pack IS NULL THEN
            RAISE EXCEPTION 'content is gone' USING ERRCODE = 'LB002';
        END IF;
    END LOOP;
END
$$;

-- Tells the search that a version has ended, and by which one (0: no moment sees it), and which one
-- stands in its place, if any. What waits for a segment and nobody sees any more gives up its row in
-- the queue: so a key that is stored over and over takes one row.
CREATE OR REPLACE FUNCTION {schema}."note_ended"(p_old bigint, p_end bigint, p_new bigint)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF p_end = 0 THEN
        DELETE FROM {segment_queue} WHERE "version" = p_old;
    END IF;
    IF p_end <> 0 OR NOT FOUND THEN
        INSERT INTO {segment_ended} ("version", "end_version") VALUES (p_old, p_end);
    END IF;
    IF p_new IS NOT NULL THEN
        INSERT INTO {segment_queue} ("version") VALUES (p_new);
    END IF;
END
$$;

-- Tells the metadata index that a version has ended: what does not wait for it, it may hold.
CREATE OR REPLACE FUNCTION {schema}."note_described"(p_key text, p_old bigint, p_metadata text)
RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    DELETE FROM {metadata_queue} WHERE "version" = p_old;
    IF NOT FOUND THEN
        INSERT INTO {metadata_ended} ("key", "version", "metadata") VALUES (p_key, p_old, p_metadata)
        ON CONFLICT ("key", "version") DO NOTHING;
    END IF;
END
$$;

-- Applies one store by the rules of `lakebed.catalog.sql.commit`, in one round trip. Each statement in
-- here sees what was committed before it (READ COMMITTED), so the newest snapshot is read under the
-- lock. LB001: a condition does not hold.
CREATE OR REPLACE FUNCTION {schema}."put_entry"(
    p_key text, p_hash bytea, p_format text, p_size bigint, p_inline bytea, p_uri text,
    p_pack bigint, p_position text, p_metadata text, p_ttl bigint, p_expires bigint,
    p_absent boolean, p_match bytea, p_now bigint, p_keep_all boolean, p_writer bigint,
    p_token bigint,
    OUT version bigint, OUT created boolean, OUT changed boolean, OUT deduplicated boolean,
    OUT expires_at bigint, OUT created_at bigint, OUT updated_at bigint, OUT uri text,
    OUT "position" text)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now bigint;
    v_newest bigint;
    v_object bigint;
    v_alive boolean;
    v_kept boolean;
    v_old record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared({lock});
    v_now := coalesce(p_now, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    deduplicated := false;
    IF p_inline IS NOT NULL THEN -- the commonest case by itself, a tenth faster
        INSERT INTO {object} ("content_hash", "format", "byte_size", "inline_value", "created_at")
        VALUES (p_hash, p_format, p_size, p_inline, v_now)
        ON CONFLICT ("content_hash", "format") DO NOTHING RETURNING "id" INTO v_object;
    END IF;
    IF v_object IS NULL THEN
        SELECT n.object_id, NOT n.is_new, n.uri, n."position"
        INTO v_object, deduplicated, uri, "position"
        FROM {schema}."name_object"(p_hash, p_format, p_size, p_inline, p_uri, p_pack, p_position,
                                    v_now) n;
    END IF;
    expires_at := CASE WHEN p_ttl IS NULL THEN p_expires ELSE v_now + p_ttl END;
    updated_at := v_now;
    changed := true;
    LOOP
        SELECT e."version", e."object_id", e."metadata", e."expires_at", e."created_at",
               e."updated_at" INTO v_old
        FROM {entry} e WHERE e."key" = p_key;
        IF NOT FOUND THEN
            IF p_match IS NOT NULL THEN
                RAISE EXCEPTION 'if_match: % is not there', quote_literal(p_key)
                    USING ERRCODE = 'LB001';
            END IF;
            created := true;
            created_at := v_now;
            version := nextval('{schema}."version"');
            INSERT INTO {entry} ("key", "version", "object_id", "metadata", "expires_at",
                                 "created_at", "updated_at")
            VALUES (p_key, version, v_object, p_metadata, expires_at, v_now, v_now)
            ON CONFLICT ("key") DO NOTHING;
            CONTINUE WHEN NOT FOUND;
            -- Others may have stored and deleted the key since the number was drawn.
            IF p_keep_all AND EXISTS (SELECT 1 FROM {entry_history} h
                                      WHERE h."key" = p_key AND h."end_version" > version) THEN
                UPDATE {entry} e SET "version" = nextval('{schema}."version"')
                WHERE e."key" = p_key RETURNING e."version" INTO version;
            END IF;
            EXIT;
        END IF;
        v_alive := v_old.expires_at IS NULL OR v_old.expires_at > v_now;
        IF p_absent AND v_alive THEN
            RAISE EXCEPTION 'if_absent: % is there already', quote_literal(p_key)
                USING ERRCODE = 'LB001';
        ELSIF p_match IS NOT NULL AND NOT v_alive THEN
            RAISE EXCEPTION 'if_match: % is not there', quote_literal(p_key)
                USING ERRCODE = 'LB001';
        ELSIF p_match IS NOT NULL AND p_match <> (
                SELECT o."content_hash" FROM {object} o WHERE o."id" = v_old.object_id) THEN
            RAISE EXCEPTION 'if_match: % has other content by now', quote_literal(p_key)
                USING ERRCODE = 'LB001';
        END IF;
        IF v_alive AND v_old.object_id = v_object AND v_old.metadata = p_metadata
                AND v_old.expires_at IS NOT DISTINCT FROM expires_at THEN
            SELECT v_old.version, false, false, v_old.created_at, v_old.updated_at
            INTO version, created, changed, created_at, updated_at;
            RETURN;
        END IF;
        -- The number is drawn when the row is locked, so versions of one key never invert; where the
        -- row has changed since it was read, all is judged again.
        UPDATE {entry} e SET
            "version" = nextval('{schema}."version"'), "object_id" = v_object,
            "metadata" = p_metadata, "expires_at" = put_entry.expires_at,
            "created_at" = CASE WHEN v_alive THEN v_old.created_at ELSE v_now END,
            "updated_at" = v_now
        WHERE e."key" = p_key AND e."version" = v_old.version
        RETURNING e."version", e."created_at" INTO version, created_at;
        CONTINUE WHEN NOT FOUND;
        created := NOT v_alive;
        SELECT max("version") INTO v_newest FROM {snapshot};
        v_kept := p_keep_all OR coalesce(v_old.version <= v_newest, false);
        IF v_kept THEN
            INSERT INTO {entry_history} ("key", "version", "end_version", "ended_at", "object_id",
                                         "metadata", "expires_at", "created_at", "updated_at")
            VALUES (p_key, v_old.version, version, v_now, v_old.object_id, v_old.metadata,
                    v_old.expires_at, v_old.created_at, v_old.updated_at);
        ELSIF v_old.object_id <> v_object THEN
            INSERT INTO {candidate} ("object_id") VALUES (v_old.object_id)
            ON CONFLICT ("object_id") DO NOTHING;
        END IF;
        EXIT;
    END LOOP;
    IF p_metadata <> '{}' THEN
        INSERT INTO {metadata_queue} ("version") VALUES (version);
    END IF;
    IF v_old.version IS NULL THEN
        INSERT INTO {segment_queue} ("version") VALUES (version);
    ELSE
        PERFORM {schema}."note_ended"(v_old.version, CASE WHEN v_kept THEN version ELSE 0 END,
                                      version);
        IF v_old.metadata <> '{}' THEN
            PERFORM {schema}."note_described"(p_key, v_old.version, v_old.metadata);
        END IF;
    END IF;
    IF p_writer IS NOT NULL THEN
        INSERT INTO {writer} AS w ("id", "token", "closed", "seen", "version", "created",
                                   "deduplicated", "expires_at", "created_at", "updated_at")
        VALUES (p_writer, p_token, false, v_now, put_entry.version, put_entry.created,
                put_entry.deduplicated, put_entry.expires_at, put_entry.created_at,
                put_entry.updated_at)
        ON CONFLICT ("id") DO UPDATE SET
            "token" = excluded."token", "seen" = excluded."seen", "version" = excluded."version",
            "created" = excluded."created", "deduplicated" = excluded."deduplicated",
            "expires_at" = excluded."expires_at", "created_at" = excluded."created_at",
            "updated_at" = excluded."updated_at"
        WHERE NOT w."closed";
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the writer is closed' USING ERRCODE = 'LB003';
        END IF;
    END IF;
END
$$;

-- Applies one delete in the same way; whether there was anything to see.
CREATE OR REPLACE FUNCTION {schema}."delete_entry"(
    p_key text, p_match bytea, p_now bigint, p_keep_all boolean, p_writer bigint, p_token bigint,
    OUT changed boolean)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now bigint;
    v_newest bigint;
    v_end bigint;
    v_kept boolean;
    v_old record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared({lock});
    v_now := coalesce(p_now, {schema}."now_micros"());
    LOOP
        SELECT e."version", e."object_id", e."metadata", e."expires_at", e."created_at",
               e."updated_at" INTO v_old
        FROM {entry} e WHERE e."key" = p_key;
        changed := FOUND AND (v_old.expires_at IS NULL OR v_old.expires_at > v_now);
        IF p_match IS NOT NULL AND NOT changed THEN
            RAISE EXCEPTION 'if_match: % is not there', quote_literal(p_key)
                USING ERRCODE = 'LB001';
        ELSIF p_match IS NOT NULL AND p_match <> (
                SELECT o."content_hash" FROM {object} o WHERE o."id" = v_old.object_id) THEN
            RAISE EXCEPTION 'if_match: % has other content by now', quote_literal(p_key)
                USING ERRCODE = 'LB001';
        END IF;
        IF v_old.version IS NULL THEN
            RETURN;
        END IF;
        DELETE FROM {entry} e WHERE e."key" = p_key AND e."version" = v_old.version;
        EXIT WHEN FOUND;
    END LOOP;
    v_end := nextval('{schema}."version"');
    SELECT max("version") INTO v_newest FROM {snapshot};
    v_kept := p_keep_all OR coalesce(v_old.version <= v_newest, false);
    IF v_kept THEN
        INSERT INTO {entry_history} ("key", "version", "end_version", "ended_at", "object_id",
                                     "metadata", "expires_at", "created_at", "updated_at")
        VALUES (p_key, v_old.version, v_end, v_now, v_old.object_id, v_old.metadata,
                v_old.expires_at, v_old.created_at, v_old.updated_at);
    ELSE
        INSERT INTO {candidate} ("object_id") VALUES (v_old.object_id)
        ON CONFLICT ("object_id") DO NOTHING;
    END IF;
    PERFORM {schema}."note_ended"(v_old.version, CASE WHEN v_kept THEN v_end ELSE 0 END, NULL);
    IF v_old.metadata <> '{}' THEN
        PERFORM {schema}."note_described"(p_key, v_old.version, v_old.metadata);
    END IF;
    IF p_writer IS NOT NULL THEN
        INSERT INTO {writer} AS w ("id", "token", "closed", "seen", "created")
        VALUES (p_writer, p_token, false, v_now, delete_entry.changed)
        ON CONFLICT ("id") DO UPDATE SET
            "token" = excluded."token", "seen" = excluded."seen", "created" = excluded."created"
        WHERE NOT w."closed";
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the writer is closed' USING ERRCODE = 'LB003';
        END IF;
    END IF;
END
$$;

-- Renames the first entry of a range that nobody else is taking: p_into stands for the first p_cut
-- characters of its key. Nothing, if there is none.
CREATE OR REPLACE FUNCTION {schema}."take_entry"(
    p_low text, p_high text, p_cut bigint, p_into text, p_now bigint, p_keep_all boolean,
    p_writer bigint, p_token bigint,
    OUT key text, OUT version bigint, OUT metadata text, OUT expires_at bigint,
    OUT created_at bigint, OUT updated_at bigint, OUT content_hash bytea, OUT format text,
    OUT byte_size bigint, OUT inline_value bytea, OUT uri text, OUT "position" text)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    v_now bigint;
    v_old record;
    v_kept boolean;
BEGIN
    PERFORM pg_advisory_xact_lock_shared({lock});
    v_now := coalesce(p_now, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
    -- The content is read in the same statement: no object that an entry names changes its bytes.
    SELECT e."key", e."version", e."object_id", e."metadata", e."expires_at", e."created_at",
           e."updated_at", o."content_hash", o."format", o."byte_size", o."inline_value", o."uri",
           o."pack_id", o."position" INTO v_old
    FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
    WHERE e."key" >= p_low COLLATE "C" AND e."key" < p_high COLLATE "C"
      AND (e."expires_at" IS NULL OR e."expires_at" > v_now)
    ORDER BY e."key" LIMIT 1 FOR UPDATE OF e SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    key := p_into || substr(v_old.key, p_cut::int + 1);
    IF octet_length(key) > 1024 THEN
        RAISE EXCEPTION 'take: the key would take more than 1024 bytes' USING ERRCODE = 'LB001';
    END IF;
    IF EXISTS (SELECT 1 FROM {entry} e WHERE e."key" = take_entry.key) THEN
        RAISE EXCEPTION 'take: % is there already', quote_literal(key) USING ERRCODE = 'LB001';
    END IF;
    UPDATE {entry} e SET "key" = take_entry.key, "version" = nextval('{schema}."version"'),
           "updated_at" = v_now
    WHERE e."key" = v_old.key RETURNING e."version" INTO version;
    v_kept := p_keep_all OR coalesce(
        v_old.version <= (SELECT max("version") FROM {snapshot}), false);
    IF v_kept THEN
        INSERT INTO {entry_history} ("key", "version", "end_version", "ended_at", "object_id",
                                     "metadata", "expires_at", "created_at", "updated_at")
        VALUES (v_old.key, v_old.version, version, v_now, v_old.object_id, v_old.metadata,
                v_old.expires_at, v_old.created_at, v_old.updated_at);
    END IF;
    IF v_old.metadata <> '{}' THEN
        INSERT INTO {metadata_queue} ("version") VALUES (version);
        PERFORM {schema}."note_described"(v_old.key, v_old.version, v_old.metadata);
    END IF;
    -- As note_ended does, in one statement where the old version waits and nobody sees it.
    IF NOT v_kept THEN
        UPDATE {segment_queue} q SET "version" = take_entry.version
        WHERE q."version" = v_old.version;
    END IF;
    IF v_kept OR NOT FOUND THEN
        PERFORM {schema}."note_ended"(v_old.version, CASE WHEN v_kept THEN version ELSE 0 END,
                                      version);
    END IF;
    metadata := v_old.metadata;
    expires_at := v_old.expires_at;
    created_at := v_old.created_at;
    updated_at := v_now;
    content_hash := v_old.content_hash;
    format := v_old.format;
    byte_size := v_old.byte_size;
    inline_value := v_old.inline_value;
    uri := v_old.uri;
    "position" := v_old."position";
    IF v_old.pack_id IS NOT NULL THEN
        SELECT p."uri" INTO uri FROM {pack} p WHERE p."id" = v_old.pack_id;
    END IF;
    IF p_writer IS NOT NULL THEN
        INSERT INTO {writer} AS w ("id", "token", "closed", "seen", "version")
        VALUES (p_writer, p_token, false, v_now, take_entry.version)
        ON CONFLICT ("id") DO UPDATE SET
            "token" = excluded."token", "seen" = excluded."seen", "version" = excluded."version"
        WHERE NOT w."closed";
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the writer is closed' USING ERRCODE = 'LB003';
        END IF;
    END IF;
END
$$;

-- The versions that have a term in one range of the metadata index, no more than so many, in its order.
-- A planner that knows little of the table takes a range for a few rows, and would read and sort all of
-- a common one; so it has no other way here.
CREATE OR REPLACE FUNCTION {schema}."index_range"(
    p_path text, p_low bytea, p_high bytea, p_cap bigint) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE ROWS 100
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
BEGIN
    RETURN QUERY SELECT m."version" FROM {entry_metadata} m
        WHERE m."path" = p_path AND m."value" BETWEEN p_low AND p_high
        ORDER BY m."value", m."version" LIMIT p_cap;
END
$$;

-- The versions without metadata, no more than so many, in the same way.
CREATE OR REPLACE FUNCTION {schema}."bare_entries"(p_cap bigint) RETURNS SETOF bigint
LANGUAGE plpgsql STABLE ROWS 100 SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN QUERY SELECT e."version" FROM {entry} e WHERE e."metadata" = '{}' LIMIT p_cap;
END
$$;

-- What the metadata index defines of shapes, no more than so much, in the same way.
CREATE OR REPLACE FUNCTION {schema}."shapes"(p_path text, p_page bigint) RETURNS SETOF bytea
LANGUAGE plpgsql STABLE ROWS 100 SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    RETURN QUERY SELECT m."value" FROM {entry_metadata} m WHERE m."path" = p_path LIMIT p_page;
END
$$;

-- Removes, beside writers, some of what overwriting leaves: contents in the catalog that have lost
-- their last name, and what the queues of the indexes hold of versions that nothing sees any more.
-- Waits for nobody. `p_page`: how many rows of each kind it looks at, from anywhere, so that rows
-- which have to stay are no obstacle; `removed`: how many contents it has removed.
CREATE OR REPLACE FUNCTION {schema}."tidy"(p_page bigint, OUT removed bigint)
LANGUAGE plpgsql VOLATILE
-- Rows are looked up one by one, whatever the planner knows or does not know yet of the tables.
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v_from bigint;
    v_some bigint[];
    v_gone bigint[];
    v_all bigint[];
    v_step bigint;
    v_batch record;
BEGIN
    removed := 0;
    IF NOT pg_try_advisory_xact_lock_shared({lock}) THEN
        RETURN; -- a snapshot, a purge or a collection is at work
    END IF;
    SELECT min("object_id") + floor(random() * (max("object_id") - min("object_id")))
    INTO v_from FROM {candidate};
    -- Who is about to refer to one of them has locked it, or waits for this lock and finds it gone.
    SELECT array_agg("id") INTO v_some FROM (
        SELECT o."id" FROM (
            (SELECT "object_id" FROM {candidate} WHERE "object_id" >= v_from
             ORDER BY "object_id" LIMIT p_page)
            UNION ALL
            (SELECT "object_id" FROM {candidate} WHERE "object_id" < v_from
             ORDER BY "object_id" LIMIT p_page)
            LIMIT p_page) c
        JOIN {object} o ON o."id" = c."object_id"
        WHERE o."inline_value" IS NOT NULL AND o."format" <> 'table'
          AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = o."id")
          AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = o."id")
          AND NOT EXISTS (SELECT 1 FROM {part} p WHERE p."part_id" = o."id")
        FOR UPDATE OF o SKIP LOCKED) dead;
    -- Judged again, by a statement that sees whatever was committed before the locks.
    WITH gone AS (
        DELETE FROM {object} o USING unnest(v_some) d WHERE o."id" = d
          AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = d)
          AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = d)
          AND NOT EXISTS (SELECT 1 FROM {part} p WHERE p."part_id" = d)
        RETURNING o."id"
    )
    SELECT array_agg("id"), count(*) INTO v_gone, removed FROM gone;
    DELETE FROM {candidate} WHERE "object_id" = ANY (v_gone);

    -- What a batch queues is a row for many versions. No segment holds them while they are there (one
    -- that is being built of them looks again, before it is named), so that nothing has to know that
    -- those of them have ended which no moment sees.
    FOR v_batch IN SELECT q."id", q."queue", q."versions" FROM {queued_batch} q WHERE q."id" IN (
            SELECT "id" FROM {queued_batch} ORDER BY random() LIMIT p_page / 250)
        FOR UPDATE SKIP LOCKED
    LOOP
        v_all := v_batch."versions";
        v_step := cardinality(v_all) / 64 + 1;
        -- Those of which less than half have ended, by some of them, are left for later.
        CONTINUE WHEN (
            SELECT 2 * count(*) FILTER (WHERE EXISTS (
                SELECT 1 FROM {entry} e WHERE e."version" = v."version")) > count(*)
            FROM unnest(v_all) WITH ORDINALITY v ("version", "place")
            WHERE v."place" % v_step = 0);
        SELECT array_agg(v) INTO v_gone FROM unnest(v_all) v
        WHERE NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."version" = v)
          AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."version" = v);
        CONTINUE WHEN v_gone IS NULL;
        IF cardinality(v_gone) = cardinality(v_all) THEN
            DELETE FROM {queued_batch} q WHERE q."id" = v_batch."id";
        ELSE
            UPDATE {queued_batch} q SET "versions" = ARRAY(
                SELECT unnest(v_all) EXCEPT SELECT unnest(v_gone) ORDER BY 1)
            WHERE q."id" = v_batch."id";
        END IF;
        IF v_batch."queue" = 'text' THEN
            DELETE FROM {segment_ended} d WHERE d."version" = ANY (v_gone) AND d."end_version" = 0;
        ELSE -- the metadata index never held them
            DELETE FROM {metadata_ended} d WHERE d."version" = ANY (v_gone);
        END IF;
    END LOOP;

    SELECT min("version") + floor(random() * (max("version") - min("version")))
    INTO v_from FROM {metadata_queue};
    DELETE FROM {metadata_queue} WHERE "version" IN (
        SELECT q."version" FROM (
            (SELECT "version" FROM {metadata_queue} WHERE "version" >= v_from
             ORDER BY "version" LIMIT p_page)
            UNION ALL
            (SELECT "version" FROM {metadata_queue} WHERE "version" < v_from
             ORDER BY "version" LIMIT p_page)
            LIMIT p_page) m
        JOIN {metadata_queue} q ON q."version" = m."version"
        WHERE NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."version" = q."version")
        FOR UPDATE OF q SKIP LOCKED);

    -- Connections that are long gone.
    DELETE FROM {writer} WHERE "id" IN (
        SELECT "id" FROM {writer} WHERE "seen" < {schema}."now_micros"() - 7 * 86400000000
        LIMIT p_page FOR UPDATE SKIP LOCKED);
END
$$;
