"""An offline Comet experiment, in its own process: its client changes the whole process.

Usage: python comet_run.py FOLDER
"""

import os
import sys
from inspect import signature
from pathlib import Path

folder = Path(sys.argv[1])
os.environ.update(COMET_START_ONLINE="0", COMET_OFFLINE_DIRECTORY=str(folder / "comet"))
os.environ.update(COMET_DISABLE_AUTO_LOGGING="1", COMET_DISPLAY_SUMMARY_LEVEL="0")
sys.path.append(str(Path(__file__).parents[1]))

from lightning.pytorch.loggers import CometLogger  # noqa: E402

from helpers.pictures import UNUSUAL_NAMES, moving, picture  # noqa: E402
from helpers.training import fit, small  # noqa: E402
from lightning_cam import Threshold  # noqa: E402
from lightning_cam.output.loggers.comet import CometSink  # noqa: E402

# Lightning names the arguments differently since 2.5. `online=False` would disable the experiment;
# the variable above only keeps it offline.
named = {"project": "p"} if "project" in signature(CometLogger).parameters else {}
named = named or {"project_name": "p", "save_dir": str(folder / "comet")}
logger = CometLogger(
    **named, prefix="mine", log_code=False, log_env_details=False, parse_args=False
)
rule = Threshold("entropy", above=0.01, patience=1, warmup=0)
fit(folder, small(alerts=[rule], on_alert=(), strict=True), max_epochs=2, logger=logger)

sink = CometSink(logger)
sink.write([picture("alone/still"), moving("alone/moving")], 77)
for name in UNUSUAL_NAMES.values():
    sink.write([picture(f"unusual/{name}", caption=name)], 88)
    sink.alert("unusual/alerts", name, 88)
sink.alert("path/alerts", __file__, 99)
logger.experiment.end()
