# SPDX-License-Identifier: Apache-2.0
"""One failing step, kept and run again slowly: which operation, on which line."""
