"""Formats of other tools: importers, exports, and corrections that come back."""
