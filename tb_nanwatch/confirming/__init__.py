# SPDX-License-Identifier: Apache-2.0
"""A search's hint, put to the test by short extra trials once the search has ended.

It stands above both sides: the hint is the report's, and the trials are trainings.
`draw` is pure; `end` is what a search calls, by way of `NanWatch(confirm=...)`.
"""
