"""Makes the network send the traffic of Services here: one on every node, which together agree who answers."""
