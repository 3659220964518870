"""Compiling is most of the time of a test that runs a network once or twice: it needs no optimised code."""
from functools import partial

import jax

jit = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0,
                                         "xla_llvm_disable_expensive_passes": True})
