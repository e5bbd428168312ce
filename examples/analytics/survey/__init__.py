"""survey: a Flower app that asks before it trains."""
