# SPDX-License-Identifier: Apache-2.0
"""Makes of the Python classes that are sent what the tab and http_api.md know of them."""
