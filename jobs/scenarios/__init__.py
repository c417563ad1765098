"""``beckon campaigns test``: stories of customers, and what the campaigns must say and not say."""
