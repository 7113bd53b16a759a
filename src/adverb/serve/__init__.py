"""`adverb serve`: an HTTP API over saved models, and a page to try them in.

A request goes through `guard` (size, time, key), its route in `routes`, and the queue in `batcher`, whose one thread
is the only one that calls models. FastAPI and uvicorn come with the extra `serve`; nothing here needs torch unless a
model does.
"""
