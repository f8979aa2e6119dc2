# SPDX-License-Identifier: Apache-2.0
"""What TensorBoard loads, and what its tab asks for."""
