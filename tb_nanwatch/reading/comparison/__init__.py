# SPDX-License-Identifier: Apache-2.0
"""Two runs or two searches, beside each other."""
