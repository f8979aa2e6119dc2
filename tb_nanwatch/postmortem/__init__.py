# SPDX-License-Identifier: Apache-2.0
"""Keeps the failing step and runs it again slowly, to find the operation and line at fault."""
