"""`nemo_run.packagers`: what chooses the code that travels with jobs."""

from runbus.compat.nemo_run import HybridPackager, PatternPackager
from runbus.packaging import FunctionPackager as Packager
from runbus.packaging import GitArchivePackager

__all__ = ["GitArchivePackager", "HybridPackager", "Packager", "PatternPackager"]
