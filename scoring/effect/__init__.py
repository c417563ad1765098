"""What campaigns brought, as a fold over what the stream published: pure, and the same for any
order of the topics against each other.

`tally` adds up: figures into `cells`, customers into the `groups` that are compared, experiments
into `trials`. `memory` says what of it is remembered, and for how long; by `passed` the customers
of the past are known again in little room. `guard` says when a rate is above what it may be.
"""
