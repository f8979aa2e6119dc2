# SPDX-License-Identifier: Apache-2.0
"""What the server sends, each answer a class; the tab's types and http_api.md follow from it.

A field's name is its JSON key, its type and its line in the docstring are what the
generated TypeScript and the tables of http_api.md say (`npm --prefix frontend run
generate`). `IN_REPORT` of a class lists the keys that `tb-nanwatch report --json`
promises, of a class that it prints in part.
"""
