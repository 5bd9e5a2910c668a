"""The first module that the workers' server imports: it rests the collector while the others are imported.

A worker wakes its own. So nothing is collected before the server forks, and memory that no worker writes to
stays shared.
"""

import gc

gc.disable()
