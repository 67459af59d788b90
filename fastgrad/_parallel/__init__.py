"""Runs calls here, on threads, in processes or on a cluster; knows nothing of derivatives."""
