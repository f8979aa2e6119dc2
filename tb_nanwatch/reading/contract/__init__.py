# SPDX-License-Identifier: Apache-2.0
"""The server's answers as classes; the tab's types and http_api.md are generated from them.

A field's name is its JSON key; its type and its line in the docstring go into the generated
TypeScript and the tables of http_api.md (`npm --prefix frontend run generate`). `IN_REPORT`
of a class lists the keys that `tb-nanwatch report --json` promises, of a class that it
prints in part.
"""
