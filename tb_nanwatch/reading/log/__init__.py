# SPDX-License-Identifier: Apache-2.0
"""Reads the records of a log directory."""
