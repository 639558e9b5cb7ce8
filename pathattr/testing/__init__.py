"""For those who extend pathattr: suites to run on a backend of one's own. Needs pytest."""

from pathattr.testing.backends import backend_suite
from pathattr.testing.models import TanhNetwork

__all__ = ["TanhNetwork", "backend_suite"]
