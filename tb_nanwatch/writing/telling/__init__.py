# SPDX-License-Identifier: Apache-2.0
"""The messages of a training, on standard output or in a notebook's cell."""
