# SPDX-License-Identifier: Apache-2.0
"""What is in the log, read back."""
