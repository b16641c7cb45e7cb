"""The wing of ``--local``: an embedded AWS IoT. The only importer of MiniStack."""
