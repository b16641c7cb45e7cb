"""What runs in the process of the embedded AWS IoT."""
