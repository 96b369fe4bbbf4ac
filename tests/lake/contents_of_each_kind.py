"""Contents of each kind, for lakes that are copied."""

from lakebed.lake.lake import Lake

LARGE = "much to tell " * 1000


def fill(lake: Lake) -> None:
    for name in ("kept", "dropped"):
        lake[name] = LARGE + name
    lake.store_batch({"key": f"packed/{n}", "value": f"{LARGE}{n}"} for n in range(4))
