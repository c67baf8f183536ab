"""The deployable functions. `app.py` is yours to edit; the others are a few lines each."""
