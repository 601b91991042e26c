"""MRML scene <-> library: volumes, slice views, markups, segments and saved prompts.

Runs on slicer-core alone and in the Slicer application. Scene and nodes are always arguments; nothing here imports
torch, Qt or the application.
"""
