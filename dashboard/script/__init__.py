"""Holds what Streamlit runs; a folder of its own, because Streamlit puts it first on the import path."""
