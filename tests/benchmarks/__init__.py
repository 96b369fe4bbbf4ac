"""Speed, as ratios: `python -m tests.benchmarks [NAME…]`, or `make bench`.

Every contest runs Lakebed, the raw driver and peers in turns, in one run, on the same documents, at
a stated durability. It prints the medians of the rounds. A bar is a ratio (their time divided by
ours) that Lakebed must reach. Nothing here runs as a timed test.
"""
