"""Stream connections: accepted or dialled, from the first byte to the last."""

__all__: list[str] = []
