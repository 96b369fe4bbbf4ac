"""The uploads of a commit: claimed from their leases, then used by objects or made trash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lakebed.catalog.protocol import MissingContentError
from lakebed.catalog.statements.executor import Transaction
from lakebed.model import Upload


class Claims:
    """The uploads of one commit. `packs` maps the uploads that are packs to their ids."""

    def __init__(
        self, tx: Transaction, queries: Mapping[str, str], uploads: Sequence[Upload]
    ) -> None:
        """Claim the uploads. Raises MissingContentError if a lease, and with it the bytes, is
        gone."""
        self._tx = tx
        self._queries = queries
        self._uploads = uploads
        self.packs: dict[str, int] = {}
        for upload in uploads:
            if tx.run(queries["claim_upload"], {"uri": upload.uri}) != 1:
                raise MissingContentError("the lease of an upload is gone")
            if upload.objects is not None:
                pack_id = tx.insert(
                    queries["add_pack"],
                    {"uri": upload.uri, "byte_size": upload.byte_size, "live": 0, "dead": 0},
                )
                assert pack_id is not None
                self.packs[upload.uri] = pack_id

    def settle(self, used: Mapping[str, int], now: int) -> None:
        """Count the objects in each pack, and turn unused uploads into trash.

        `used` maps each upload to the number of objects that use it.
        """
        for upload in self._uploads:
            live, pack_id = used.get(upload.uri, 0), self.packs.get(upload.uri)
            if pack_id is not None and live:
                dead = (upload.objects or 0) - live
                self._tx.run(
                    self._queries["set_pack_counts"], {"id": pack_id, "live": live, "dead": dead}
                )
            elif not live:
                if pack_id is not None:
                    self._tx.run(self._queries["delete_pack"], {"id": pack_id})
                self._tx.run(self._queries["add_trash"], {"uri": upload.uri, "now": now})
