#ifndef PGLEASE_CLIBPQ_SHIM_H
#define PGLEASE_CLIBPQ_SHIM_H

#include <libpq-fe.h>

#endif
