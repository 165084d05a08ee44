"""Serves a model with llama.cpp's own server: `serve.py MODEL`. Prints the address, and runs until it is ended."""

from __future__ import annotations

import sys
import threading

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx = 8192
params.n_parallel = 1
params.warmup = False
params.use_jinja = True
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.port = 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
