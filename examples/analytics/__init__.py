"""analytics: what hospitals ask about their data before they train together."""
