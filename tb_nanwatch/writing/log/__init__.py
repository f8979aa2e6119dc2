# SPDX-License-Identifier: Apache-2.0
"""Writes one training's records and files."""
