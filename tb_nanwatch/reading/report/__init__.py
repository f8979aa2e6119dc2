# SPDX-License-Identifier: Apache-2.0
"""The report: as an overview object, in a terminal, as a page."""
