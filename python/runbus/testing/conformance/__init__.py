"""What every adapter of a port must do, as tests to inherit. Needs pytest and pytest-asyncio."""
