"""Speed, as ratios: `python -m tests.benchmarks [NAME…]`, or `make bench`.

Every contest runs Lakebed, the raw driver and peers in turns, in one run, on the same documents at
a stated durability; what it prints is the median over the rounds. A bar is a ratio (their time
through ours) that Lakebed has to reach. Nothing here runs as a timed test.
"""
