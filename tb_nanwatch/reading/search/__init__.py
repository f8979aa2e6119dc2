# SPDX-License-Identifier: Apache-2.0
"""The trials of one search, compared: statistics, verdict, edit; pure."""
