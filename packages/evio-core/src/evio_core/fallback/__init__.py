"""The same loop and connections over asyncio's transports."""
