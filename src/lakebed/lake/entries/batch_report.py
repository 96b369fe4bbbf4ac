"""The report of a batch."""

from __future__ import annotations

from collections.abc import Mapping

from lakebed.errors import LakebedError
from lakebed.records import Report


class BatchReport(Report):
    """The result of `store_batch`.

    | field | |
    | --- | --- |
    | `stored` | distinct keys that are now as in the batch |
    | `created`, `changed`, `unchanged` | keys that were new, that differed, and that were alike |
    | `deduplicated` | contents that the lake had already, or that were twice in the batch |
    | `replaced` | entries of the batch that gave way to a later one with the same key |
    | `failed` | entries that could not be stored (only if not atomic) |
    | `errors` | their errors by key, the first of each; without a usable key by `entry N`, from 1 |

    A batch that is not atomic commits 5,000 entries at a time. A key that occurs again in a later
    part is counted again in `created`, `changed` and `unchanged`.
    """

    stored: int
    created: int
    changed: int
    unchanged: int
    deduplicated: int
    replaced: int
    failed: int
    errors: Mapping[str, LakebedError]
