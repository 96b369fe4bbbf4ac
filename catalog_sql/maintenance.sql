-- Keeping clean: collection, compaction, verification.

-- name: lapsed_leases
-- for: collect: uploads whose writer is gone
SELECT "uri" FROM {pending} WHERE "lease" <= :now LIMIT :page

-- name: candidates
-- for: collect: objects that lost a reference, where they lie, and whether they have one left
SELECT c."object_id", o."byte_size", o."uri", o."pack_id",
       EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = c."object_id")
       OR EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = c."object_id")
       OR EXISTS (SELECT 1 FROM {part} p WHERE p."part_id" = c."object_id")
FROM {candidate} c LEFT JOIN {object} o ON o."id" = c."object_id"
WHERE c."object_id" > :after ORDER BY c."object_id" LIMIT :page

-- name: preview_collect
-- for: collect: the files that it would give up: uploads whose writer is gone, files of objects that
-- nothing refers to, and packs in which only such objects live
WITH unnamed AS (
    SELECT o."id", o."uri", o."pack_id" FROM {candidate} c JOIN {object} o ON o."id" = c."object_id"
    WHERE NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = o."id")
      AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = o."id")
      AND NOT EXISTS (SELECT 1 FROM {part} p WHERE p."part_id" = o."id")
), dead AS (
    SELECT "id", "uri", "pack_id" FROM unnamed
    UNION
    SELECT o."id", o."uri", o."pack_id" FROM {part} p JOIN {object} o ON o."id" = p."part_id"
    WHERE p."object_id" IN (SELECT "id" FROM unnamed)
      AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = o."id")
      AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = o."id")
      AND NOT EXISTS (SELECT 1 FROM {part} q WHERE q."part_id" = o."id"
                        AND q."object_id" NOT IN (SELECT "id" FROM unnamed))
)
SELECT (SELECT count(*) FROM {pending} WHERE "lease" <= :now)
     + (SELECT count("uri") FROM dead)
     + (SELECT count(*) FROM {pack} p JOIN (
            SELECT "pack_id", count(*) AS "many" FROM dead WHERE "pack_id" IS NOT NULL
            GROUP BY "pack_id") d ON d."pack_id" = p."id" WHERE d."many" >= p."live")

-- name: delete_candidates
-- for: collect: candidates that have been judged
DELETE FROM {candidate} WHERE "object_id" > :after AND "object_id" <= :last

-- name: delete_objects
-- for: collect: contents that nothing refers to
DELETE FROM {object} WHERE "id" IN ({values})

-- name: parts_of
-- for: collect, purge: the parts of tables that nothing refers to
SELECT DISTINCT "part_id" FROM {part} WHERE "object_id" IN ({ids})

-- name: tables_with
-- for: the same: which tables list these parts
SELECT "part_id", "object_id" FROM {part} WHERE "part_id" IN ({ids})

-- name: delete_parts
-- for: the same: what those tables list
DELETE FROM {part} WHERE "object_id" IN ({values})

-- name: bury_in_pack
-- for: objects of a pack that are dead, or have moved out of it
UPDATE {pack} SET "live" = "live" - :count, "dead" = "dead" + :count WHERE "id" = :id

-- name: empty_packs
-- for: packs in which nothing lives
SELECT "id", "uri" FROM {pack} WHERE "live" <= 0

-- name: due_trash
-- for: collect: files whose grace has passed
SELECT "uri" FROM {trash} WHERE "since" <= :horizon AND "uri" > :after ORDER BY "uri" LIMIT :page

-- name: count_trash
-- for: collect: files that wait out their grace
SELECT count(*) FROM {trash}

-- name: delete_trash
-- for: collect: files that are gone
DELETE FROM {trash} WHERE "uri" IN ({values})

-- name: named_files
-- for: orphan removal: which files the catalog knows, for whatever reason
SELECT "uri" FROM {object}
WHERE "content_hash" >= :low AND "content_hash" < :high AND "uri" IS NOT NULL
UNION ALL
SELECT "uri" FROM {segment}
WHERE "content_hash" >= :low AND "content_hash" < :high AND "uri" IS NOT NULL

-- name: named_packs
-- for: the same for packs
SELECT "uri" FROM {pack}

-- name: leased_files
-- for: the same for uploads in flight and what is trash already, of one folder
SELECT "uri" FROM {pending} WHERE "uri" >= :low AND "uri" < :high
UNION SELECT "uri" FROM {trash} WHERE "uri" >= :low AND "uri" < :high

-- name: inline_objects
-- for: compact: inline values to flush, in the order that they came
SELECT "id", "content_hash", "format", "inline_value" FROM {object}
WHERE "id" > :after AND "inline_value" IS NOT NULL AND "byte_size" >= :least
  AND "created_at" <= :horizon AND "format" <> 'table'
ORDER BY "id" LIMIT :page

-- name: worn_packs
-- for: compact: packs that are mostly dead, or small
SELECT "id", "uri", "byte_size", "live", "dead" FROM {pack}
WHERE "live" > 0 AND ("dead" > "live" OR "byte_size" < :small) ORDER BY "id"

-- name: pack_objects
-- for: the objects that live in a pack
SELECT "id", "content_hash", "format", "byte_size", "position" FROM {object}
WHERE "pack_id" = :pack_id

-- name: move_inline
-- for: compact: an inline value to its place in a pack, if it is still inline
UPDATE {object} SET "inline_value" = NULL, "pack_id" = :pack_id, "position" = :position
WHERE "id" = :id AND "content_hash" = :content_hash AND "inline_value" IS NOT NULL

-- name: move_packed
-- for: compact: an object from one pack to another, if it is still in the first
UPDATE {object} SET "pack_id" = :pack_id, "position" = :position
WHERE "id" = :id AND "content_hash" = :content_hash AND "pack_id" = :old_pack

-- name: present_objects
-- for: compact: which objects are still there
SELECT "id", "content_hash" FROM {object} WHERE "id" IN ({ids})

-- name: count_packed
-- for: compact: how many objects a pack holds
SELECT count(*) FROM {object} WHERE "pack_id" = :pack_id

-- name: delete_pack_row
-- for: a pack in which nothing lives
DELETE FROM {pack} WHERE "id" = :id AND NOT EXISTS (
    SELECT 1 FROM {object} WHERE "pack_id" = :id)

-- name: verify_objects
-- for: verify: objects in order of their number
SELECT o."id", o."content_hash", o."format", o."byte_size", o."inline_value",
       coalesce(o."uri", p."uri"), o."position"
FROM {object} o LEFT JOIN {pack} p ON p."id" = o."pack_id"
WHERE o."id" > :after ORDER BY o."id" LIMIT :page

-- name: names_of_object
-- for: verify: which keys an object stands under, and until which version
SELECT "key", "version", NULL FROM {entry} WHERE "object_id" = :object_id
UNION ALL
SELECT "key", "version", "end_version" FROM {entry_history} WHERE "object_id" = :object_id
UNION ALL
SELECT e."key", e."version", NULL FROM {part} p JOIN {entry} e ON e."object_id" = p."object_id"
WHERE p."part_id" = :object_id
UNION ALL
SELECT h."key", h."version", h."end_version" FROM {part} p
JOIN {entry_history} h ON h."object_id" = p."object_id" WHERE p."part_id" = :object_id

-- name: entries_without_object
-- for: verify: names whose content has no row
SELECT e."key", e."object_id" FROM {entry} e LEFT JOIN {object} o ON o."id" = e."object_id"
WHERE o."id" IS NULL
UNION ALL
SELECT h."key", h."object_id" FROM {entry_history} h LEFT JOIN {object} o ON o."id" = h."object_id"
WHERE o."id" IS NULL
UNION ALL
SELECT e."key", p."part_id" FROM {part} p JOIN {entry} e ON e."object_id" = p."object_id"
LEFT JOIN {object} o ON o."id" = p."part_id" WHERE o."id" IS NULL

-- name: miscounted_packs
-- for: verify: packs whose count of living objects is wrong
SELECT p."id", p."uri", p."live", p."dead", count(o."id") FROM {pack} p
LEFT JOIN {object} o ON o."pack_id" = p."id"
GROUP BY p."id", p."uri", p."live", p."dead" HAVING count(o."id") <> p."live"

-- name: trashed_in_use
-- for: verify: trash that something refers to
SELECT t."uri" FROM {trash} t
WHERE EXISTS (SELECT 1 FROM {pack} p WHERE p."uri" = t."uri")
   OR t."uri" IN (SELECT "uri" FROM {object} WHERE "uri" IS NOT NULL)
   OR t."uri" IN (SELECT "uri" FROM {segment} WHERE "uri" IS NOT NULL)

-- name: leased_in_use
-- for: verify: leases of uploads that something refers to
SELECT l."uri" FROM {pending} l
WHERE EXISTS (SELECT 1 FROM {pack} p WHERE p."uri" = l."uri")
   OR l."uri" IN (SELECT "uri" FROM {object} WHERE "uri" IS NOT NULL)
   OR l."uri" IN (SELECT "uri" FROM {segment} WHERE "uri" IS NOT NULL)

-- name: unreferenced_objects
-- for: verify: objects that nothing refers to and that nobody has noted
SELECT o."id" FROM {object} o
WHERE NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = o."id")
  AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = o."id")
  AND NOT EXISTS (SELECT 1 FROM {part} p WHERE p."part_id" = o."id")
  AND NOT EXISTS (SELECT 1 FROM {candidate} c WHERE c."object_id" = o."id")

-- name: recount_pack
-- for: verify: correcting the counts of a pack
UPDATE {pack} SET
    "dead" = "dead" + "live" - (SELECT count(*) FROM {object} WHERE "pack_id" = :id),
    "live" = (SELECT count(*) FROM {object} WHERE "pack_id" = :id)
WHERE "id" = :id

-- name: object_place
-- for: what replacing an object leaves behind
SELECT "uri", "pack_id" FROM {object} WHERE "id" = :id

-- name: replace_object
-- for: mending, presign: content that gets a file of its own or goes inline, if it lies where it lay
UPDATE {object} SET "inline_value" = :inline_value, "pack_id" = NULL, "position" = NULL,
    "uri" = :new_uri
WHERE "id" = :id AND coalesce("uri", '') = :uri AND coalesce("pack_id", 0) = :pack_id
    AND coalesce("position", '') = :position

-- name: tables_of_parts
-- for: compact: the tables that appends have made
SELECT {entry_columns} FROM {entry} e JOIN {object} o ON o."id" = e."object_id"
WHERE e."object_id" IN (SELECT "object_id" FROM {part}) AND e."key" > :after
  AND (e."expires_at" IS NULL OR e."expires_at" > :now)
ORDER BY e."key" LIMIT :page

-- Purge: a range of keys goes from now, from history and from every snapshot.

-- name: keys_with_history
-- for: purge: the next keys of a range, those that only history has included
SELECT "key" FROM {entry} WHERE "key" >= :low AND "key" < :high
UNION
SELECT "key" FROM {entry_history} WHERE "key" >= :low AND "key" < :high
ORDER BY 1 LIMIT :page

-- name: purged_objects
-- for: purge: contents that may have nothing else to hold them
SELECT "object_id" FROM {entry} WHERE "key" >= :low AND "key" < :high
UNION
SELECT "object_id" FROM {entry_history} WHERE "key" >= :low AND "key" < :high

-- name: snapshots_seeing
-- for: purge: the snapshots that a purge touches
SELECT "id", "name" FROM {snapshot} s
WHERE EXISTS (SELECT 1 FROM {entry} e
              WHERE e."key" >= :low AND e."key" < :high AND e."version" <= s."version")
   OR EXISTS (SELECT 1 FROM {entry_history} h
              WHERE h."key" >= :low AND h."key" < :high
                AND h."version" <= s."version" AND h."end_version" > s."version")

-- name: mark_purged
-- for: purge: saying of a snapshot that it is no longer whole
UPDATE {snapshot} SET "purged_at" = :now WHERE "id" = :id

-- name: purged_metadata
-- for: purge: what the metadata index may hold of these keys
SELECT "version", "metadata" FROM {entry}
WHERE "key" >= :low AND "key" < :high AND "metadata" <> '{}'
UNION ALL
SELECT "version", "metadata" FROM {entry_history}
WHERE "key" >= :low AND "key" < :high AND "metadata" <> '{}'
UNION ALL
SELECT "version", "metadata" FROM {metadata_ended} WHERE "key" >= :low AND "key" < :high

-- name: purge_ended_metadata
-- for: purge: what was noted of them
DELETE FROM {metadata_ended} WHERE "key" >= :low AND "key" < :high

-- name: keys_with_ended
-- for: purge: the next keys of a range of which nothing but that is left
SELECT DISTINCT "key" FROM {metadata_ended} WHERE "key" >= :low AND "key" < :high
ORDER BY "key" LIMIT :page

-- name: purge_entries
-- for: purge: the present
DELETE FROM {entry} WHERE "key" >= :low AND "key" < :high

-- name: purge_history
-- for: purge: the past
DELETE FROM {entry_history} WHERE "key" >= :low AND "key" < :high

-- name: places_unnamed
-- for: collect, purge: which of these objects no entry and no version names any more, and where they lie
SELECT o."id", o."byte_size", o."uri", o."pack_id", o."content_hash" FROM {object} o
WHERE o."id" IN ({ids})
  AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = o."id")
  AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = o."id")

-- name: get_packs
-- for: purge: packs that hold purged bytes beside living ones
SELECT "id", "uri", "byte_size", "live", "dead" FROM {pack} WHERE "id" IN ({ids})

-- name: wear_pack
-- for: purge: a pack that is to be rewritten, by a compaction if the purge is cut short
UPDATE {pack} SET "dead" = "live" + 1 WHERE "id" = :id AND "dead" <= "live"

-- name: packs_with_dead
-- for: purge: packs in which other copies of purged bytes may lie
SELECT "id", "uri", "byte_size", "live", "dead" FROM {pack}
WHERE "dead" > 0 AND "id" > :after ORDER BY "id" LIMIT :page

-- name: uploads
-- for: purge: files that no commit has claimed, in which copies may lie as well
SELECT "uri" FROM {pending}

-- name: preview_purge
-- for: purge: what it would remove: entries, versions, and of the contents that nothing else holds
-- their bytes, files and packs
WITH unnamed AS (
    SELECT o."id" FROM {object} o
    WHERE o."id" IN (SELECT "object_id" FROM {entry} WHERE "key" >= :low AND "key" < :high
                     UNION
                     SELECT "object_id" FROM {entry_history}
                     WHERE "key" >= :low AND "key" < :high)
      AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = o."id"
                        AND NOT (e."key" >= :low AND e."key" < :high))
      AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = o."id"
                        AND NOT (h."key" >= :low AND h."key" < :high))
), held AS (
    SELECT o."byte_size", o."uri", o."pack_id" FROM {object} o
    WHERE o."id" IN (SELECT "id" FROM unnamed
                     UNION
                     SELECT p."part_id" FROM {part} p WHERE p."object_id" IN (SELECT "id" FROM unnamed))
      AND NOT EXISTS (SELECT 1 FROM {entry} e WHERE e."object_id" = o."id"
                        AND NOT (e."key" >= :low AND e."key" < :high))
      AND NOT EXISTS (SELECT 1 FROM {entry_history} h WHERE h."object_id" = o."id"
                        AND NOT (h."key" >= :low AND h."key" < :high))
      AND NOT EXISTS (SELECT 1 FROM {part} q WHERE q."part_id" = o."id"
                        AND q."object_id" NOT IN (SELECT "id" FROM unnamed))
)
SELECT (SELECT count(*) FROM {entry} WHERE "key" >= :low AND "key" < :high),
       (SELECT count(*) FROM {entry_history} WHERE "key" >= :low AND "key" < :high),
       coalesce(sum("byte_size"), 0), count("uri"), count(DISTINCT "pack_id")
FROM held

-- name: expedite_trash
-- for: purge: trash that no grace spares
UPDATE {trash} SET "since" = 0 WHERE "uri" = :uri
