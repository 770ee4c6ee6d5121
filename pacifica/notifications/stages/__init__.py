"""The stages that an event passes: group commit, dispatch, authorise, deliver, record.

Each stage claims its work from the store and records there what came of it.
"""
