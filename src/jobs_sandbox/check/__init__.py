"""``--check``: judge a device by scenarios. It stands above `app`, whose sessions it runs."""
