"""Storing a value and reading it back."""

from __future__ import annotations

import pyarrow as pa

from lakebed.values.codec import decode_value, encode_value


def round_trip(value: object) -> pa.Table:
    encoded = encode_value(value)
    data = encoded.data
    assert (encoded.format, encoded.byte_size) == ("parquet", len(data))
    encoded.close()
    return decode_value("parquet", data)


def content_hash(value: object) -> bytes:
    encoded = encode_value(value)
    encoded.close()
    return encoded.content_hash
