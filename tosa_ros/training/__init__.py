"""Trains the embedded models on the tiny world: a LLaVA-OneVision and two Depth Anythings.

Above `synthetic`, below `cli`. What it exports are ordinary transformers checkpoints; nothing
else in the package imports it.
"""
