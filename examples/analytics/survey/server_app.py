"""survey: what is asked, all of it in one secure round."""

from __future__ import annotations

import json
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from survey.data import CODEBOOK

from stfed.flower.analytics import Analytics, Covariance, Frequencies, Histogram, Number, Quantiles, Variance

# Create ServerApp
app = ServerApp()

NUMBERS = tuple(name for name, column in CODEBOOK.items() if isinstance(column, Number))


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Main entry point for the ServerApp."""
    analytics = Analytics(grid, CODEBOOK, min_parties=int(context.run_config["min-parties"]))
    results = analytics.ask(
        *(Variance(name) for name in NUMBERS),
        *(Quantiles(name) for name in NUMBERS),
        Histogram("mean radius"),
        Frequencies("diagnosis"),
        Covariance(NUMBERS),
    )
    answers = json.dumps([result.as_dict() for result in results], indent=1)
    if context.run_config["out"]:
        Path(str(context.run_config["out"])).write_text(answers)
    else:
        print(answers)
