# SPDX-License-Identifier: Apache-2.0
"""Generates the tab's types and http_api.md's tables from the Python classes that are sent."""
