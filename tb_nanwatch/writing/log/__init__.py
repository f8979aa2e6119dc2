# SPDX-License-Identifier: Apache-2.0
"""One training in the log: its records, its files."""
