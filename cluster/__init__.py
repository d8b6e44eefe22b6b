"""What Kubernetes says and what we tell it: objects, watches, configuration, status, Events, the Lease.

Controller and speaker read the cluster here as immutable values and never see the API's own JSON. Of arpfast, only
`arpfast.spans` is known here: a pool is a set of addresses there as well.
"""
