"""Loops: what to run next on slices and volumes, progress, cancel, and the memory of done slices."""
