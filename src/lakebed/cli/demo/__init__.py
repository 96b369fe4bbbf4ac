"""`lakebed demo`: the main job on real data, each step with the call that it makes."""
