"""What campaigns brought, as a fold over what the stream published: pure, and the same for any
order of the topics against each other.

`tally` adds up and compares, `guard` says when a rate is above what a campaign may have.
"""
