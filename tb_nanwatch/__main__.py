# SPDX-License-Identifier: Apache-2.0
"""`python -m tb_nanwatch` is `tb-nanwatch`."""

import sys

from tb_nanwatch.reading.cli import main

if __name__ == "__main__":
    sys.exit(main())
