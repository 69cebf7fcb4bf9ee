from runbus.testing.pytest_plugin import kernel_factory

__all__ = ["kernel_factory"]
