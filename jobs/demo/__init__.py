"""``beckon demo``: the whole product on one machine, live, and a report of what it did.

command  brings everything up, runs the market, closes the books, stops what it started
history  a first model, from a market played through the core beforehand
services our own processes beside the stream
watch    reads the topics and keeps the figures of every second
screen   shows them in the terminal
report   writes them as one HTML page
charts   the page's drawings, as SVG
"""
