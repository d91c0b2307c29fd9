"""The same loop and connections over asyncio's transports."""

__all__: list[str] = []
