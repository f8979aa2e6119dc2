# SPDX-License-Identifier: Apache-2.0
"""The TensorBoard plugin, and the answers to its tab's requests."""
