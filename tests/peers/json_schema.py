"""Checks JSON documents by a JSON Schema, and the schema by its own.

Arguments: the schema, the documents. Says what is wrong with the first one that does not fit.
"""

import json
import sys

from jsonschema import Draft202012Validator

schema, *documents = [json.load(open(path, encoding="utf-8")) for path in sys.argv[1:]]
Draft202012Validator.check_schema(schema)
for path, document in zip(sys.argv[2:], documents):
    for error in Draft202012Validator(schema).iter_errors(document):
        sys.exit(f"{path}: {error.json_path}: {error.message}")
print(f"{len(documents)} fit")
