"""Commands under way, and what was heard from AWS IoT."""
