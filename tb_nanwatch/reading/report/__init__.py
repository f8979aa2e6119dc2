# SPDX-License-Identifier: Apache-2.0
"""The report: as records, in a terminal, as a page."""
