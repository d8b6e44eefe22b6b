"""Gives addresses to the Services of a cluster: which one, of which pool, and for how long."""
