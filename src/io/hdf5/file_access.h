#pragma once

#include <hdf5.h>

// HDF5's own locks are off: a file system may lack them (NFS, Lustre without flock), a file that is
// written has an unfinished name, and a run folder has one run at a time (io/run_lock.h).
//
// The library is told so since 1.10.7, but for 1.12.0; others know the environment variable alone.
#if H5_VERSION_GE(1, 10, 7) && !(H5_VERS_MAJOR == 1 && H5_VERS_MINOR == 12 && H5_VERS_RELEASE == 0)
#define MICREC_HDF5_HAS_FILE_LOCKING
#endif
