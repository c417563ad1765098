"""How fast the engine is, measured so that the figures mean something; `python -m benchmarks.run`.

Latency is measured in open loop from the intended send, throughput as a ratio between contenders
that made identical decisions. Nothing here is shipped or imported by the product.
"""
