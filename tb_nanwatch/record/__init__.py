# SPDX-License-Identifier: Apache-2.0
"""The log's content: the records, their bytes, their tags."""
