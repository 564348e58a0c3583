"""Our buffers behind the interfaces of other libraries. Each module imports its library itself."""
