"""Samples and batches, from a built dataset."""
