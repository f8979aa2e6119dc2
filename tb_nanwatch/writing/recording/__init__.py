# SPDX-License-Identifier: Apache-2.0
"""Turns rows of sums and full looks into episodes, ranges and a status; plain NumPy."""
