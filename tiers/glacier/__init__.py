"""Blobs in object storage: the seam to the providers, the layout of the objects, encryption, retries."""
