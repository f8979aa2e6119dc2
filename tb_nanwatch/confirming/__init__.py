# SPDX-License-Identifier: Apache-2.0
"""A search's hint, put to the test by short extra trials once the search has ended.

It imports both sides: the report finds the hint, and the trials are watched trainings.
`draw` is pure; `end` is what a search calls, by way of `NanWatch(confirm=...)`.
"""
