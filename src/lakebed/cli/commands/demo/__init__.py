"""`lakebed demo`: Lakebed's main features on real data, each step with the call that it makes."""
