"""One module a page; each draws a view."""
