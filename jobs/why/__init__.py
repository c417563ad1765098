"""``beckon why``: the answers from what was recorded, and the command."""
