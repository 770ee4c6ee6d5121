"""What is stored, claimed, held and released: the only code that queries the tables at run time.

An event is stored by `events`, or by `deduplication` where duplicates are suppressed. `dispatching`
makes deliveries of it, `deliveries` records what Policy and targets answer, and `holding` keeps
deliveries for subscriptions that cannot be served, and releases them. `subscriptions` is what
owners do with theirs, and `revisions` what workers read of them. `claims` has the leases and locks
by which workers share the work.

Every function raises StoreUnavailable when the database does not answer.
"""
