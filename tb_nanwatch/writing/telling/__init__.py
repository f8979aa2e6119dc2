# SPDX-License-Identifier: Apache-2.0
"""What a training says, and where: on standard output, or in a cell of a notebook."""
