"""`python -m lightning_cam`: the command line."""

import sys

from lightning_cam.cli import main

sys.exit(main())
