# SPDX-License-Identifier: Apache-2.0
"""From rows of sums and full looks to episodes, ranges and a status; plain NumPy."""
