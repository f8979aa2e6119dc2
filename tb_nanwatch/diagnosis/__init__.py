# SPDX-License-Identifier: Apache-2.0
"""Turns the facts of one run into ranked causes and an answer; pure."""
