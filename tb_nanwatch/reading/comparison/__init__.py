# SPDX-License-Identifier: Apache-2.0
"""Compares two runs or two searches."""
