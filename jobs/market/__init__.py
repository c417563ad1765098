"""A market of simulated customers whose true wishes we know; pure, seeded, without a broker.

- `catalogue`: what is for sale
- `customers`: who they are: tastes, habits, price sensitivity, consent
- `behaviour`: what they do: sessions of view, favourite, cart, purchase
- `faults`: what goes wrong between them and us
- `render`: their events as bytes
- `response`: what they do when spoken to, and the true probability of it
- `market`: the whole
- `sender`: what takes decisions to them and tells what became of each
- `tally`: what a run did, against the truth
- `latency`: from the intended moment of an event to its decision
- `clock`: event time that runs faster than wall time
- `loop`: a market and a decider in one process
"""
