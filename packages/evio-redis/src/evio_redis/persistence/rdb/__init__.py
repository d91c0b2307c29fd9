"""Redis's binary format of values: DUMP payloads and snapshots."""
