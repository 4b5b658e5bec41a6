"""Work on many items by Dask's workers, here or on a cluster, under the contract of `executors.Executor`.

Dask is imported by the modules of this folder alone, and these only where a cluster is asked for; it is the extra ``cluster``.
"""
