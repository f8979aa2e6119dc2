# SPDX-License-Identifier: Apache-2.0
"""Sentences and names that several packages share; pure."""
